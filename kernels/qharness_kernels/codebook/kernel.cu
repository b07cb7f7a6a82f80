// Products with, and expansion of, matrices of additive codes. Compiled at run time with the constants of cuda.py:
//   BOOKS    codebooks: 1 with codes of up to 16 bits, or 2 with codes of up to 8 bits
//   BITS     bits of a code
//   STAGED   1 if the codebooks are copied to shared memory, eight times, so that no two lanes of eight share a bank
//   BF16     1 if activations and results are bfloat16
//   TILES    tiles (of 16 output rows) of a block
//   SLABS    groups of 8 columns of activations: 1 or 2
//   WARPS    warps of a block; they share the inputs
//   AHEAD    chunks of inputs that a warp has on the way
//   RESIDENT blocks that a multiprocessor can hold
//   EAGER    1 if a warp reads the activations of its next chunk before it multiplies those of this one
//
// A codeword is eight inputs of a row. With g = lane / 4 and t = lane % 4 a lane holds, for every 32 inputs, the codes
// of rows g and g + 8 of the tile for inputs 8 t to 8 t + 7: what they stand for is its part of the first operands of
// two mma.m16n8k16 instructions, each of four inputs a lane. Four such steps, 128 inputs, are a chunk.

#include "fragments.cu"

#define CHUNK 128
#define STEPS 4
#define COPIES 8
#define BOOK_BYTES (COPIES * 16 << BITS)

struct Words {
    u32 at[STEPS];
};

__device__ __forceinline__ void read_words(Words &words, const u32 *payload, int index, int lane) {
    const u32 *from = payload + ((size_t)index * 32 + lane) * STEPS;
    asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words.at[0]), "=r"(words.at[1]), "=r"(words.at[2]), "=r"(words.at[3])
                 : "l"(from));
}

// The sum of the books' parts.
__device__ __forceinline__ u32 total(u32 first, u32 last) {
#if BOOKS == 2
    u32 sum;
    asm("add.rn.f16x2 %0, %1, %2;" : "=r"(sum) : "r"(first), "r"(last));
    return sum;
#else
    return first;
#endif
}

// Four pairs: the codeword of a book for the lane's first or second row.
__device__ __forceinline__ void look_up(u32 (&found)[4], u32 word, int row, int book, const char *books, u32 bank) {
#if BOOKS == 2
    u32 code = __byte_perm(word, 0, 0x4440 + 2 * row + book);
#else
    u32 code = __byte_perm(word, 0, row ? 0x4432 : 0x4410);
#endif
#if STAGED
    u32 at;
    asm("mad.lo.u32 %0, %1, %2, %3;" : "=r"(at) : "r"(code), "n"(COPIES * 16), "r"(bank));
    if (book)
        asm("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4 + %5];"
            : "=r"(found[0]), "=r"(found[1]), "=r"(found[2]), "=r"(found[3])
            : "r"(at), "n"(BOOK_BYTES));
    else
        asm("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
            : "=r"(found[0]), "=r"(found[1]), "=r"(found[2]), "=r"(found[3])
            : "r"(at));
#else
    asm("ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];"
        : "=r"(found[0]), "=r"(found[1]), "=r"(found[2]), "=r"(found[3])
        : "l"(books + (code + ((u32)book << BITS)) * 16u));
#endif
}

// Eight activations, from input `k` on, as four pairs; zeros beyond the inputs or the rows.
__device__ __forceinline__ void read_inputs(u32 (&pairs)[4], const u16 *x, int row, int rows, int k, int in_features) {
    uint4 found = {0, 0, 0, 0};
    if (row < rows && k < in_features) found = read_four(x + (size_t)row * in_features + k);
    pairs[0] = to_half(found.x), pairs[1] = to_half(found.y), pairs[2] = to_half(found.z), pairs[3] = to_half(found.w);
}

__device__ __forceinline__ void stage(const uint4 *books, int threads) {
    for (int i = threadIdx.x; i < (BOOKS << BITS) * COPIES; i += threads) ((uint4 *)shared)[i] = __ldg(books + i / COPIES);
}

__device__ __forceinline__ float widen(u16 half) {
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(half));
    return wide;
}

extern "C" __global__ void __launch_bounds__(WARPS * 32, RESIDENT)
    multiply(const u32 *__restrict__ payload, const char *__restrict__ books, const u16 *__restrict__ scales,
             const u16 *__restrict__ x, u16 *__restrict__ y, int rows, int out_features, int in_features) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
    const int chunks = (in_features + CHUNK - 1) / CHUNK, tiles = (out_features + 15) / 16;
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
    const u32 bank = (u32)__cvta_generic_to_shared(shared) + lane % COPIES * 16;
#if STAGED
    stage((const uint4 *)books, WARPS * 32);
    __syncthreads();
#endif
    asm volatile("griddepcontrol.wait;" ::: "memory");
#if EAGER
    u32 coming[SLABS][STEPS][4];
#pragma unroll
    for (int s = 0; s < SLABS; s++)
#pragma unroll
        for (int step = 0; step < STEPS; step++)
            read_inputs(coming[s][step], x, s * 8 + g, rows, warp * CHUNK + step * 32 + t * 8, in_features);
#endif
    float sums[TILES][SLABS][4] = {};
    for (int start = warp; start < chunks; start += AHEAD * WARPS) {
#pragma unroll
        for (int u = 0; u < AHEAD; u++) {
            const int chunk = start + u * WARPS, next = chunk + AHEAD * WARPS;
            if (chunk < chunks) {
                u32 inputs[SLABS][STEPS][4];
#pragma unroll
                for (int s = 0; s < SLABS; s++)
#pragma unroll
                    for (int step = 0; step < STEPS; step++) {
#if EAGER
#pragma unroll
                        for (int q = 0; q < 4; q++) inputs[s][step][q] = coming[s][step][q];
                        read_inputs(coming[s][step], x, s * 8 + g, rows, (chunk + WARPS) * CHUNK + step * 32 + t * 8,
                                    in_features);
#else
                        read_inputs(inputs[s][step], x, s * 8 + g, rows, chunk * CHUNK + step * 32 + t * 8,
                                    in_features);
#endif
                    }
#pragma unroll
                for (int i = 0; i < TILES; i++) {
                    u32 found[STEPS][BOOKS][2][4];
#pragma unroll
                    for (int step = 0; step < STEPS; step++)
#pragma unroll
                        for (int book = 0; book < BOOKS; book++)
#pragma unroll
                            for (int row = 0; row < 2; row++)
                                look_up(found[step][book][row], ahead[u][i].at[step], row, book, books, bank);
                    if (next < chunks)
                        read_words(ahead[u][i], payload, min(first + i, end - 1) * chunks + next, lane);
#pragma unroll
                    for (int step = 0; step < STEPS; step++)
#pragma unroll
                        for (int j = 0; j < 4; j += 2) {
                            u32 a[4];
#pragma unroll
                            for (int r = 0; r < 4; r++)
                                a[r] = total(found[step][0][r & 1][j + (r >> 1)],
                                             found[step][BOOKS - 1][r & 1][j + (r >> 1)]);
#pragma unroll
                            for (int s = 0; s < SLABS; s++)
                                multiply_add(sums[i][s], a, inputs[s][step][j], inputs[s][step][j + 1]);
                        }
                }
            }
        }
    }
    // Behind the last read of the table, whose room the sums take.
#if STAGED
    __syncthreads();
#endif
    lay_down(sums, warp, t, rows, g, g + 8);
    __syncthreads();
    const int results = TILES * rows * 16;
    for (int r = threadIdx.x; r < results; r += WARPS * 32) {
        const float sum = over_warps(r, results);
        const int tile = first + r / (rows * 16), row = tile * 16 + r % 16, column = r / 16 % rows;
        if (tile < end && row < out_features)
            y[(size_t)column * out_features + row] = to_output(sum * widen(scales[row]) * RESTORE);
    }
}

// The whole matrix: a warp expands chunks of a tile.
extern "C" __global__ void __launch_bounds__(512, 1)
    expand(const u32 *__restrict__ payload, const char *__restrict__ books, const u16 *__restrict__ scales,
           u16 *__restrict__ weight, int out_features, int in_features) {
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const int chunks = (in_features + CHUNK - 1) / CHUNK, count = (out_features + 15) / 16 * chunks;
    const u32 bank = (u32)__cvta_generic_to_shared(shared) + lane % COPIES * 16;
#if STAGED
    stage((const uint4 *)books, blockDim.x);
    __syncthreads();
#endif
    asm volatile("griddepcontrol.wait;" ::: "memory");
    const int warps = gridDim.x * (blockDim.x / 32);
    for (int index = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; index < count; index += warps) {
        Words words;
        read_words(words, payload, index, lane);
        const int tile = index / chunks, chunk = index % chunks;
#pragma unroll
        for (int row = 0; row < 2; row++) {
            const int out = tile * 16 + g + 8 * row;
            if (out >= out_features) continue;
            const float scale = widen(scales[out]);
#pragma unroll
            for (int step = 0; step < STEPS; step++) {
                const int k = chunk * CHUNK + step * 32 + t * 8;
                if (k >= in_features) continue;
                float sum[8] = {};
#pragma unroll
                for (int book = 0; book < BOOKS; book++) {
                    u32 found[4];
                    look_up(found, words.at[step], row, book, books, bank);
#pragma unroll
                    for (int j = 0; j < 4; j++) {
                        sum[2 * j] += widen(found[j] & 0xffff);
                        sum[2 * j + 1] += widen(found[j] >> 16);
                    }
                }
                u32 pairs[4];
#pragma unroll
                for (int j = 0; j < 4; j++)
                    pairs[j] = to_output(sum[2 * j] * scale) | (u32)to_output(sum[2 * j + 1] * scale) << 16;
                *(uint4 *)(weight + (size_t)out * in_features + k) = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
            }
        }
    }
}
