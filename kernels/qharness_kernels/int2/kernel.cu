// Two-bit codes with a scale and a zero for each group of columns. Defined before: GROUP (32, 64, or a multiple of 128).
//
// Word 2 h + r of a lane holds blocks 2 h and 2 h + 1 of row g + 8 r: pair p of block 2 h + q in bits 2 p + 8 q and 16
// above. `side` is (TILES, sides, 8, segments, 2 rows) of float16 pairs (scale, zero).

#include "matvec/skeleton.cu"

#define SEGMENTS (GROUP < 128 ? 128 / GROUP : 1)
#define SPAN ((GROUP + 127) / 128)
#define SIDES ((GROUPS + SPAN - 1) / SPAN)

struct Code {
    static const int TABLE = 0;
    static constexpr float OUTER = 1.0f;
    struct Side {
        u32 pair[SEGMENTS][2];
    };
    Sums totals[SEGMENTS];

    static __device__ __forceinline__ int fold(int pair) { return 2 * pair; }

    static __device__ __forceinline__ const u32* place_of_sides(const Arguments& of, int tile, int group, int lane) {
        return of.side + (((long long)tile * SIDES + group / SPAN) * 8 + (lane >> 2)) * SEGMENTS * 2;
    }

    static __device__ __forceinline__ Side side(const u32* place, int r) {
        Side read;
#pragma unroll
        for (int s = 0; s < SEGMENTS; ++s)
            asm volatile("ld.global.nc.v2.u32 {%0, %1}, [%2];"
                         : "=r"(read.pair[s][0]), "=r"(read.pair[s][1])
                         : "l"(place + (r * (SIDES * 8) * SEGMENTS + s) * 2));
        return read;
    }

    __device__ __forceinline__ Code(const Arguments&, int) {}

    // Sums of x over each segment, in every row of the accumulators.
    __device__ __forceinline__ void prepare(const Columns& x) {
#pragma unroll
        for (int s = 0; s < SEGMENTS; ++s)
#pragma unroll
            for (int n = 0; n < NT; ++n) {
#pragma unroll
                for (int i = 0; i < 4; ++i) totals[s][n][i] = 0;
#pragma unroll
                for (int b = s * 4 / SEGMENTS; b < (s + 1) * 4 / SEGMENTS; ++b) {
                    multiply(totals[s][n], 0x00010001, 0x00010001, 0x00040004, 0x00040004, x.pair[n][b][0], x.pair[n][b][1]);
                    multiply(totals[s][n], 0x00100010, 0x00100010, 0x00400040, 0x00400040, x.pair[n][b][2], x.pair[n][b][3]);
                }
            }
    }

    __device__ __forceinline__ void tile(Sums& sums, const Words& words, const Side& side, const Columns& x) {
#pragma unroll
        for (int s = 0; s < SEGMENTS; ++s) {
            Sums part;
#pragma unroll
            for (int n = 0; n < NT; ++n)
#pragma unroll
                for (int i = 0; i < 4; ++i) part[n][i] = 0;
#pragma unroll
            for (int b = s * 4 / SEGMENTS; b < (s + 1) * 4 / SEGMENTS; ++b) {
                const u32 upper = words.w[b / 2 * 2] >> (b & 1) * 8, lower = words.w[b / 2 * 2 + 1] >> (b & 1) * 8;
#pragma unroll
                for (int m = 0; m < 2; ++m)
#pragma unroll
                    for (int n = 0; n < NT; ++n)
                        multiply(
                            part[n], upper & 0x00030003 << 4 * m, lower & 0x00030003 << 4 * m,
                            upper & 0x000C000C << 4 * m, lower & 0x000C000C << 4 * m, x.pair[n][b][2 * m],
                            x.pair[n][b][2 * m + 1]
                        );
            }
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                const float scale = low_half(side.pair[s][r]), zero = high_half(side.pair[s][r]);
#pragma unroll
                for (int n = 0; n < NT; ++n)
#pragma unroll
                    for (int i = 2 * r; i < 2 * r + 2; ++i)
                        sums[n][i] += scale * (part[n][i] - zero * totals[s][n][i]);
            }
        }
    }

    __device__ __forceinline__ void rescale(int, float, float) {}

    __device__ __forceinline__ float finish(float sum, int, int) const { return sum; }

    static __device__ __forceinline__ float rescaled(const Arguments&, float sum, int) { return sum; }
};

#include "matvec/decode.cu"
