// Products with, and expansion of, trellis-coded matrices. Compiled at run time with the constants of cuda.py:
//   CODE     0 HYB, 1 1MAD, 2 3INST, 3 mul1
//   BITS     bits of a weight: 2, 3 or 4
//   VECTOR   weights of a step
//   STATE    bits of a state, at most 16
//   LUT      base-2 logarithm of the rows of HYB's table
//   SIGNED   1 if the table is held with both signs of the first weight
//   ROWWISE  1 if a tile's weights run row by row, 0 if they run in the order of an mma fragment
//   BF16     1 if activations and results are bfloat16
//   TILES    tiles (of 16 output rows) of a block
//   SLABS    groups of 8 columns of activations: 1 or 2
//   WARPS    warps of a block; they share the inputs
//   AHEAD    chunks of inputs that a warp has on the way
//   RESIDENT blocks that a multiprocessor can hold
//   EAGER    1 if a warp reads the activations of its next chunk before it multiplies those of this one
//
// A lane holds 32 consecutive weights of a tile: with g = lane / 4 and t = lane % 4, those from 32 g on of tile t of four
// that are side by side. Its registers, decoded, are the first operands of four mma.m16n8k16 instructions. Two such
// units, 128 inputs, are a chunk.

#include "fragments.cu"

#define HYB 0
#define MAD 1
#define INST 2
#define MUL 3
#define FULL 0xffffffffu
#define WORDS (2 * BITS)
#if BITS == 3
#define WIDE 2
#else
#define WIDE 4
#endif
#define PLANES (WORDS / WIDE)
#define CHUNK 128
#define COPIES 128

struct Words {
    u32 at[WORDS];
};

__device__ __forceinline__ void read_words(Words &words, const u32 *payload, int index, int lane) {
#pragma unroll
    for (int p = 0; p < PLANES; p++) {
        const u32 *from = payload + ((size_t)(index * PLANES + p) * 32 + lane) * WIDE;
#if WIDE == 4
        asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
                     : "=r"(words.at[4 * p]), "=r"(words.at[4 * p + 1]), "=r"(words.at[4 * p + 2]),
                       "=r"(words.at[4 * p + 3])
                     : "l"(from));
#else
        asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v2.u32 {%0, %1}, [%2];"
                     : "=r"(words.at[2 * p]), "=r"(words.at[2 * p + 1])
                     : "l"(from));
#endif
    }
}

__device__ __forceinline__ u32 funnel_left(u32 high, u32 low, int by) { return __funnelshift_l(low, high, by); }

// Where in the unit the weights of inputs 2 q and 2 q + 1 of the lane's first or second row are.
__device__ __forceinline__ constexpr int place(int q, int second) {
    return ROWWISE ? second * 16 + 2 * q : 8 * (q % 4) + 4 * (q / 4) + 2 * second;
}

// Sixteen bits of the ring from bit `b` of the unit on, in the low half; the high half is whatever came before.
__device__ __forceinline__ u32 window(const u32 (&w)[BITS + 1], int b) {
    const int j = b / 32, o = b % 32;
    return o <= 16 ? w[j] >> (16 - o) : __funnelshift_r(w[j + 1], w[j], 48 - o);
}

// The same, nothing before it: two windows 16 bits apart share a shift.
__device__ __forceinline__ u32 state(const u32 (&w)[BITS + 1], int b) {
    const int j = b / 32, o = b % 32;
    u32 found;
    if (o < 16) {
        u32 shifted = o ? funnel_left(w[j], w[j + 1], o) : w[j];
        found = __byte_perm(shifted, 0, 0x4432);
    } else {
        u32 shifted = o > 16 ? funnel_left(w[j], w[j + 1], o - 16) : w[j];
        found = __byte_perm(shifted, 0, 0x4410);
    }
    return found >> (16 - STATE);
}

#if CODE == MAD
#define STATE_FACTOR 34038481u
#define STATE_TERM 76625530u
#elif CODE == INST
#define STATE_FACTOR 89226354u
#define STATE_TERM 64248484u
#else
#define STATE_FACTOR 0x83DCD12Du
#define STATE_TERM 0u
#endif

__device__ __forceinline__ u32 mixed(u32 x) { return x * STATE_FACTOR + STATE_TERM; }

// The states from bits `b` and `b` + 16 on, mixed. What the second's high half, which is the first, adds to its product
// is taken off by another multiplication, with `shifted`: logical operations are what runs out.
__device__ __forceinline__ void mix_two(const u32 (&w)[BITS + 1], int b, u32 shifted, u32 &first, u32 &last) {
#if CODE == INST && STATE == 16
    const int j = b / 32, o = b % 32;
    const u32 both = o ? funnel_left(w[j], w[j + 1], o) : w[j], high = both >> 16;
    first = mixed(high);
    last = both * STATE_FACTOR + (high * shifted + STATE_TERM);
#else
    first = mixed(state(w, b));
    last = mixed(state(w, b + 16));
#endif
}

// Sixteen bits behind the weights of inputs 2 q are those of inputs 2 (q + APART), for these four q.
#if BITS == 4
#define APART (ROWWISE ? 2 : 4)
#else
#define APART (ROWWISE ? 4 : 1)
#endif
__device__ __forceinline__ constexpr int first_of(int j) {
    return APART == 4 ? j : APART == 1 ? 2 * j : j % 2 + 4 * (j / 2);
}

// (y & 0x8FFF8FFF) ^ 0x3B603B60: one operation, if the second constant is in a register.
__device__ __forceinline__ u32 two_halves(u32 y, u32 pattern) {
    u32 made;
    asm("lop3.b32 %0, %1, 0x8FFF8FFF, %2, 0x6A;" : "=r"(made) : "r"(y), "r"(pattern));
    return made;
}

__device__ __forceinline__ u32 byte_sum(u32 y) { return __dp4a(y, 0x01010101u, 0x6400u); }

__device__ __forceinline__ u32 half_add(u32 a, u32 b) {
    u32 c;
    asm("add.rn.f16x2 %0, %1, %2;" : "=r"(c) : "r"(a), "r"(b));
    return c;
}

__device__ __forceinline__ u32 half_fma(u32 a, u32 b, u32 c) {
    u32 d;
    asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
}

// Two weights, from bit `b` of the unit on, as float16 in units of the code (of 1 / 147.800537109375 for 1MAD).
__device__ __forceinline__ u32 decode(const u32 (&w)[BITS + 1], int b, u32 bank) {
#if CODE == HYB
#if STATE == 16
    u32 x = window(w, b);
#else
    u32 x = state(w, b);
#endif
    u32 h = x * x + x;
    u32 found;
#if LUT > 8
    u32 at, row = h & (((1u << (LUT + SIGNED)) - 1) << (15 - LUT));
    asm("mad.lo.u32 %0, %1, %2, %3;" : "=r"(at) : "r"(row), "n"(1 << (LUT - 8)), "r"(bank));
#else
    u32 at = ((h >> (8 - LUT)) & (((1u << (LUT + SIGNED)) - 1) << 7)) + bank;
#endif
    asm("ld.shared.u32 %0, [%1];" : "=r"(found) : "r"(at));
    return SIGNED ? found : found ^ (h & 0x8000u);
#elif CODE == INST
    u32 first = two_halves(mixed(state(w, b)), 0x3B603B60u);
    u32 second = two_halves(mixed(state(w, b + BITS)), 0x3B603B60u);
    return half_add(__byte_perm(first, second, 0x5410), __byte_perm(first, second, 0x7632));
#else
    u32 first = byte_sum(mixed(state(w, b))), second = byte_sum(mixed(state(w, b + BITS)));
    u32 both = __byte_perm(first, second, 0x5410);
#if CODE == MAD
    return half_add(both, 0xE5FEE5FEu);
#else
    return half_fma(both, 0x1EEF1EEFu, 0xC932C932u);
#endif
#endif
}

__device__ __forceinline__ void take_unit(u32 (&w)[BITS + 1], const Words &words, int unit, int lane) {
#pragma unroll
    for (int i = 0; i < BITS; i++) w[i] = words.at[unit * BITS + i];
    w[BITS] = __shfl_sync(FULL, w[0], lane + 4);
}

// Sixteen activations, from input `k` on, as eight pairs; zeros beyond the inputs or the rows.
__device__ __forceinline__ void read_inputs(u32 (&pairs)[8], const u16 *x, int row, int rows, int k, int in_features) {
    uint4 first = {0, 0, 0, 0}, second = {0, 0, 0, 0};
    if (row < rows && k < in_features) {
        const u16 *from = x + (size_t)row * in_features + k;
        first = read_four(from);
        second = read_four(from + 8);
    }
    pairs[0] = to_half(first.x), pairs[1] = to_half(first.y), pairs[2] = to_half(first.z), pairs[3] = to_half(first.w);
    pairs[4] = to_half(second.x), pairs[5] = to_half(second.y), pairs[6] = to_half(second.z);
    pairs[7] = to_half(second.w);
}

// Each lane gets its own copy of the table, in its own bank.
__device__ __forceinline__ void fill_table(char *table, const u32 *lut, int threads) {
    for (int i = threadIdx.x; i < (1 << (LUT + SIGNED)) * 8; i += threads) {
        u32 entry = __ldg(lut + (i / 8 & ((1 << LUT) - 1))) ^ (i >> (LUT + 3)) << 15;
        *(uint4 *)(table + i * 16) = make_uint4(entry, entry, entry, entry);
    }
}

#define FACTOR (CODE == MAD ? 1.0f / 147.800537109375f : 1.0f)

extern "C" __global__ void __launch_bounds__(WARPS * 32, RESIDENT)
    multiply(const u32 *__restrict__ payload, const u32 *__restrict__ lut, const float *__restrict__ scale,
             const u16 *__restrict__ x, u16 *__restrict__ y, int rows, int out_features, int in_features, u32 pattern,
             u32 shifted) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
    const int chunks = (in_features + CHUNK - 1) / CHUNK, tiles = out_features / 16;
    const int first = (int)(blockIdx.x * tiles / gridDim.x);
    const int end = (int)((blockIdx.x + 1) * tiles / gridDim.x);
    // The next kernel may start to read its weights; this one waits, with its own on the way, for what it depends on.
    asm volatile("griddepcontrol.launch_dependents;");
    Words ahead[AHEAD][TILES];
#pragma unroll
    for (int u = 0; u < AHEAD; u++)
#pragma unroll
        for (int i = 0; i < TILES; i++)
            if (warp + u * WARPS < chunks)
                read_words(ahead[u][i], payload, min(first + i, end - 1) * chunks + warp + u * WARPS, lane);
    const u32 bank = (u32)__cvta_generic_to_shared(shared) + lane * 4;
#if CODE == HYB
    fill_table(shared, lut, WARPS * 32);
    __syncthreads();
#endif
    asm volatile("griddepcontrol.wait;" ::: "memory");
#if EAGER
    u32 coming[SLABS][2][8];
#pragma unroll
    for (int s = 0; s < SLABS; s++)
#pragma unroll
        for (int unit = 0; unit < 2; unit++)
            read_inputs(coming[s][unit], x, s * 8 + g, rows, warp * CHUNK + unit * 64 + t * 16, in_features);
#endif
    float sums[TILES][SLABS][4] = {};
    for (int start = warp; start < chunks; start += AHEAD * WARPS) {
#pragma unroll
        for (int u = 0; u < AHEAD; u++) {
            const int chunk = start + u * WARPS, next = chunk + AHEAD * WARPS;
            if (chunk < chunks) {
                u32 inputs[SLABS][2][8];
#pragma unroll
                for (int s = 0; s < SLABS; s++)
#pragma unroll
                    for (int unit = 0; unit < 2; unit++) {
#if EAGER
#pragma unroll
                        for (int q = 0; q < 8; q++) inputs[s][unit][q] = coming[s][unit][q];
                        read_inputs(coming[s][unit], x, s * 8 + g, rows,
                                    (chunk + WARPS) * CHUNK + unit * 64 + t * 16, in_features);
#else
                        read_inputs(inputs[s][unit], x, s * 8 + g, rows, chunk * CHUNK + unit * 64 + t * 16,
                                    in_features);
#endif
                    }
#pragma unroll
                for (int i = 0; i < TILES; i++) {
#pragma unroll
                    for (int unit = 0; unit < 2; unit++) {
                        u32 w[BITS + 1];
                        take_unit(w, ahead[u][i], unit, lane);
#pragma unroll
                        for (int j = 0; j < 4; j++) {
#if CODE == INST
                            // A weight is the sum of two float16 numbers: both go into the product, with one input.
                            u32 a[2][4];
#if BITS == 3
                            const int q[2] = {2 * j, 2 * j + 1};
#pragma unroll
                            for (int r = 0; r < 8; r++)
                                a[r / 4][r % 4] = mixed(state(w, (place(q[r / 4], r & 1) + (r >> 1 & 1)) * BITS));
#else
                            const int q[2] = {first_of(j), first_of(j) + APART};
#pragma unroll
                            for (int r = 0; r < 4; r++)
                                mix_two(w, (place(q[0], r & 1) + (r >> 1)) * BITS, shifted, a[0][r], a[1][r]);
#endif
#pragma unroll
                            for (int r = 0; r < 8; r++) a[r / 4][r % 4] = two_halves(a[r / 4][r % 4], pattern);
#pragma unroll
                            for (int h = 0; h < 2; h++)
#pragma unroll
                                for (int s = 0; s < SLABS; s++)
                                    multiply_add(sums[i][s], a[h], __byte_perm(inputs[s][unit][q[h]], 0, 0x1010),
                                                 __byte_perm(inputs[s][unit][q[h]], 0, 0x3232));
#else
                            u32 a[4];
#pragma unroll
                            for (int r = 0; r < 4; r++)
                                a[r] = decode(w, place(2 * j + (r >> 1), r & 1) * BITS, bank);
#pragma unroll
                            for (int s = 0; s < SLABS; s++)
                                multiply_add(sums[i][s], a, inputs[s][unit][2 * j], inputs[s][unit][2 * j + 1]);
#endif
                        }
                    }
                    if (next < chunks)
                        read_words(ahead[u][i], payload, min(first + i, end - 1) * chunks + next, lane);
                }
            }
        }
    }
    // Behind the last read of the table, whose room the sums take.
#if CODE == HYB
    __syncthreads();
#endif
    lay_down(sums, warp, t, rows, ROWWISE ? 2 * g : g, ROWWISE ? 2 * g + 1 : g + 8);
    __syncthreads();
    const int results = TILES * rows * 16;
    const float factor = __ldg(scale) * (FACTOR * RESTORE);
    for (int r = threadIdx.x; r < results; r += WARPS * 32) {
        const float sum = over_warps(r, results);
        const int tile = first + r / (rows * 16), column = r / 16 % rows;
        if (tile < end) y[(size_t)column * out_features + tile * 16 + r % 16] = to_output(sum * factor);
    }
}

// The whole matrix: a warp expands chunks of a tile.
extern "C" __global__ void __launch_bounds__(512, 1)
    expand(const u32 *__restrict__ payload, const u32 *__restrict__ lut, const float *__restrict__ scale,
           u16 *__restrict__ weight, int out_features, int in_features) {
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const int chunks = (in_features + CHUNK - 1) / CHUNK, count = out_features / 16 * chunks;
    const u32 bank = (u32)__cvta_generic_to_shared(shared) + lane * 4;
#if CODE == HYB
    fill_table(shared, lut, blockDim.x);
    __syncthreads();
#endif
    const float factor = __ldg(scale) * FACTOR;
    asm volatile("griddepcontrol.wait;" ::: "memory");
    const int warps = gridDim.x * (blockDim.x / 32);
    for (int index = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; index < count; index += warps) {
        Words words;
        read_words(words, payload, index, lane);
        const int tile = index / chunks, chunk = index % chunks;
#pragma unroll
        for (int unit = 0; unit < 2; unit++) {
            u32 w[BITS + 1];
            take_unit(w, words, unit, lane);
            const int k = chunk * CHUNK + unit * 64 + t * 16;
            if (k >= in_features) continue;
#pragma unroll
            for (int half = 0; half < 2; half++) {
                u32 pairs[8];
#pragma unroll
                for (int j = 0; j < 8; j++) {
                    u32 pair = decode(w, place(j, half) * BITS, bank);
                    float low, high;
                    asm("{.reg .b16 a, b; mov.b32 {a, b}, %2; cvt.f32.f16 %0, a; cvt.f32.f16 %1, b;}"
                        : "=f"(low), "=f"(high)
                        : "r"(pair));
                    pairs[j] = to_output(low * factor) | (u32)to_output(high * factor) << 16;
                }
                const int row = tile * 16 + (ROWWISE ? 2 * g + half : g + 8 * half);
                uint4 *to = (uint4 *)(weight + (size_t)row * in_features + k);
                to[0] = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
                to[1] = make_uint4(pairs[4], pairs[5], pairs[6], pairs[7]);
            }
        }
    }
}
