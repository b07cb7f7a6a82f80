// What the kernels share that multiply weights as they are decoded: operands of mma.m16n8k16 in registers, activations
// and results of either 16-bit type, and the sum over the warps of a block. Constants as in the kernels that include it.

typedef unsigned int u32;
typedef unsigned short u16;

extern __shared__ __align__(128) char shared[];

__device__ __forceinline__ void multiply_add(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

#if BF16
// Activations are divided by 32, exactly, so that float16 holds what bfloat16 usually does; results are multiplied.
#define RESTORE 32.0f
__device__ __forceinline__ u32 to_half(u32 pair) {
    u32 made;
    float low = __uint_as_float(pair << 16) * 0.03125f, high = __uint_as_float(pair & 0xffff0000u) * 0.03125f;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(made) : "f"(high), "f"(low));
    return made;
}
__device__ __forceinline__ u16 to_output(float value) {
    u16 made;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(made) : "f"(value));
    return made;
}
#else
#define RESTORE 1.0f
__device__ __forceinline__ u32 to_half(u32 pair) { return pair; }
__device__ __forceinline__ u16 to_output(float value) {
    u16 made;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(made) : "f"(value));
    return made;
}
#endif

// Coherent, since the kernel in front may still have been writing when this one began.
__device__ __forceinline__ uint4 read_four(const u16 *from) {
    uint4 found;
    asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(found.x), "=r"(found.y), "=r"(found.z), "=r"(found.w)
                 : "l"(from));
    return found;
}

// Lay a warp's sums down, one float a (warp, tile, column, row): those of lane 4 g + t are rows `low` and `high` of
// each tile.
__device__ __forceinline__ void lay_down(const float (&sums)[TILES][SLABS][4], int warp, int t, int rows, int low,
                                         int high) {
    float *partial = (float *)shared;
#pragma unroll
    for (int i = 0; i < TILES; i++)
#pragma unroll
        for (int s = 0; s < SLABS; s++)
#pragma unroll
            for (int e = 0; e < 2; e++) {
                const int column = s * 8 + t * 2 + e;
                float *to = partial + ((warp * TILES + i) * rows + column) * 16;
                if (column < rows) to[low] = sums[i][s][e], to[high] = sums[i][s][2 + e];
            }
}

// One of `results` sums over the warps, added in their order.
__device__ __forceinline__ float over_warps(int place, int results) {
    float sum = 0;
#pragma unroll
    for (int w = 0; w < WARPS; w++) sum += ((const float *)shared)[w * results + place];
    return sum;
}
