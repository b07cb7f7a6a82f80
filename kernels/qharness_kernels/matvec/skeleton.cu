// y = x W^T for 1 to 16 rows of x, W stored in two bits a weight. The part that all codes share.
//
// A tile is 16 rows by 128 columns of W: 16 bytes for each lane of a warp, read once. Lane 4 g + t holds columns
// 32 b + 8 t .. 32 b + 8 t + 7 of rows g and g + 8, b = 0 .. 3, which are eight A operands of mma.m16n8k16; eight rows
// of x are the B operand, read in their natural order. A block has ROW_TILES tiles next to each other, its warps share
// out the groups of 128 columns, and the blocks of a cluster share out the columns: sums are added in a fixed order.
//
// Weights enter the product as small integers in the mantissa of a float16 without an exponent (n 2^-24, exact), which
// costs one mask for two weights. A field that lies e bits higher is 2^e as large, so its x is made 2^-e as large. For
// that, and for bfloat16, every warp multiplies what it has seen of each row of x by a power of two that brings the
// largest value to at most 2^15, and the sums by the inverse: both are exact.
//
// Defined before: IN, OUT, GROUPS (of 128 columns), ROW_TILES (at most TILES), SPLIT (blocks of a cluster), WARPS,
// BLOCKS (of a multiprocessor), AHEAD (tiles that a warp has on the way), NT (eights of rows of x), BF16.

typedef unsigned int u32;
typedef unsigned short u16;

#define TILES ((OUT + 15) / 16)
#define PART ((GROUPS + SPLIT - 1) / SPLIT)
#define THREADS (WARPS * 32)
#define STRIDE (ROW_TILES * 16 + 4)

struct Words {
    u32 w[4];
};

struct Arguments {
    const Words* payload;  // (TILES, GROUPS, 32 lanes)
    const u32* side;       // scales, as the code lays them out
    const u32* table;      // as the code lays it out
    const u16* x;          // (rows, IN)
    u16* y;                // (rows, OUT)
    const u16* row_scales; // float16, one for each output or one for all
    int rows;
};

// B operands of 128 columns: pair p of the eight columns of block b.
struct Columns {
    u32 pair[NT][4][4];
};

typedef float Sums[NT][4];

__device__ __forceinline__ u32 shared_address(const void* pointer) {
    return (u32)__cvta_generic_to_shared(pointer);
}

// A copy of 16 bytes to shared memory that goes on by itself.
__device__ __forceinline__ void start_copy(u32 to, const void* from) {
    asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}

__device__ __forceinline__ Words read_copy(u32 from) {
    Words r;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r.w[0]), "=r"(r.w[1]), "=r"(r.w[2]), "=r"(r.w[3])
                 : "r"(from)
                 : "memory");
    return r;
}

__device__ __forceinline__ void multiply(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// The same, with the sums so far elsewhere.
__device__ __forceinline__ void multiply_onto(
    float (&c)[4], const float (&so_far)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1
) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%10, %11, %12, %13};"
        : "=f"(c[0]), "=f"(c[1]), "=f"(c[2]), "=f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1), "f"(so_far[0]), "f"(so_far[1]), "f"(so_far[2]),
          "f"(so_far[3]));
}

__device__ __forceinline__ u32 permute(u32 a, u32 b, u32 selector) {
    u32 r;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(selector));
    return r;
}

// The float16 in the lower or upper half of a word.
__device__ __forceinline__ float low_half(u32 pair) {
    float r;
    asm("{.reg .b16 l, h; mov.b32 {l, h}, %1; cvt.f32.f16 %0, l;}" : "=f"(r) : "r"(pair));
    return r;
}

__device__ __forceinline__ float high_half(u32 pair) {
    float r;
    asm("{.reg .b16 l, h; mov.b32 {l, h}, %1; cvt.f32.f16 %0, h;}" : "=f"(r) : "r"(pair));
    return r;
}

__device__ __forceinline__ float power(int exponent) { return __int_as_float((exponent < -126 ? 1 : exponent + 127) << 23); }

// 2^exponent of the accumulators' left (0) or right (1) column, from the lanes that hold the exponents of x's rows.
__device__ __forceinline__ float factor_of(int exponent, int lane, int right) {
    return power(__shfl_sync(~0u, exponent, 8 * (lane & 3) + 4 * right));
}

__device__ __forceinline__ void rescale(float (&c)[4], float left, float right) {
    c[0] *= left, c[2] *= left;
    c[1] *= right, c[3] *= right;
}

__device__ __forceinline__ u32 largest(u32 a, u32 b) {
    u32 r;
    asm("max.u16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b & 0x7FFF7FFFu));
    return r;
}

#define MOST_EXPONENT (BF16 ? 100 : 15)

// What x is multiplied by, as an exponent, from its largest value (the larger of two).
__device__ __forceinline__ int scale_exponent(u32 pair) {
    u32 bits = pair >> 16 > (pair & 0xFFFF) ? pair >> 16 : pair & 0xFFFF;
#if BF16
    const int exponent = 141 - (int)(bits >> 7);
#else
    const int exponent = 29 - (int)(bits >> 10);
#endif
    return exponent < MOST_EXPONENT ? exponent : MOST_EXPONENT;
}

// Two values of x times 2^exponent, as float16.
__device__ __forceinline__ u32 scaled(u32 pair, int exponent) {
    u32 r;
#if BF16
    u32 factor = (u32)(exponent + 127) << 7;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(pair), "r"(factor | factor << 16), "r"(0x80008000u));
    float low = __int_as_float(r << 16), high = __int_as_float(r & 0xFFFF0000u);
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
#else
    u32 factor = (u32)(exponent + 15) << 10;
    asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(r) : "r"(pair), "r"(factor | factor << 16));
#endif
    return r;
}

__device__ __forceinline__ u16 rounded(float value) {
    u16 r;
#if BF16
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r) : "f"(value));
#else
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(value));
#endif
    return r;
}

__device__ __forceinline__ u32 largest_of(u32 most, const Words& words) {
    return largest(largest(largest(largest(most, words.w[0]), words.w[1]), words.w[2]), words.w[3]);
}

__device__ __forceinline__ Words load_x(const Arguments& of, int row, int column) {
    Words r = {{0, 0, 0, 0}};
    if (row < of.rows && column < IN) {
        asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r.w[0]), "=r"(r.w[1]), "=r"(r.w[2]), "=r"(r.w[3])
                     : "l"(of.x + (long long)row * IN + column));
    }
    return r;
}
