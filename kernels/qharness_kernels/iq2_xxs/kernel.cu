// Code words of IQ2_XXS.
//
// Bytes b of words 0 and 1 of a lane are the point of block b in rows g and g + 8; of words 2 and 3 the low seven bits
// are the signs, and the four high bits together the step of block t. `side` is (TILES, superblocks, 8) of float16
// pairs: d of rows g and g + 8. The table has, for a point and for a sign byte, eight numbers of four bits: their
// exclusive or is the magnitude's number, plus 4 where the weight is negative; number i in bits 4 i.

#include "matvec/skeleton.cu"
#include "matvec/table.cu"

#define SIDES ((GROUPS + 1) / 2)

struct Code {
    static const int TABLE = 65536;
    static constexpr float OUTER = 0.25f;
    struct Side {
        u32 pair;
    };
    Sums offsets[4];
    u32 place;

    static __device__ __forceinline__ int fold(int) { return 0; }

    static __device__ __forceinline__ const u32* place_of_sides(const Arguments& of, int tile, int group, int lane) {
        return of.side + ((long long)tile * SIDES + group / 2) * 8 + (lane >> 2);
    }

    static __device__ __forceinline__ Side side(const u32* place, int r) {
        Side read;
        asm volatile("ld.global.nc.u32 %0, [%1];" : "=r"(read.pair) : "l"(place + r * (SIDES * 8)));
        return read;
    }

    __device__ __forceinline__ Code(const Arguments& of, int lane) : place(lane * 4) { fill_table(of.table); }

    // Weights enter as 64 + w: -64 times the sum of x over each block.
    __device__ __forceinline__ void prepare(const Columns& x) {
#pragma unroll
        for (int b = 0; b < 4; ++b)
#pragma unroll
            for (int n = 0; n < NT; ++n) {
#pragma unroll
                for (int i = 0; i < 4; ++i) offsets[b][n][i] = 0;
#pragma unroll
                for (int m = 0; m < 2; ++m)
                    multiply(
                        offsets[b][n], 0x80408040, 0x80408040, 0x80408040, 0x80408040, x.pair[n][b][2 * m],
                        x.pair[n][b][2 * m + 1]
                    );
            }
    }

    __device__ __forceinline__ void tile(Sums& sums, const Words& words, const Side& side, const Columns& x) {
        // 1024 + step in two float16, rows g and g + 8, then step + 1/2.
        const u32 high = (words.w[2] & 0x80808080) * 0x00204081 >> 28, low = (words.w[3] & 0x80808080) * 0x00204081 >> 28;
        u32 steps = high | low << 16 | 0x64006400;
        asm("sub.rn.f16x2 %0, %0, %1;" : "+r"(steps) : "r"(0x63FF63FFu));
        Sums part;
#pragma unroll
        for (int b = 0; b < 4; ++b) {
            const u32 numbers[2] = {look_up(words.w[0], words.w[2], b, place), look_up(words.w[1], words.w[3], b, place)};
            Sums block;
#pragma unroll
            for (int m = 0; m < 2; ++m) {
                // 64 + 8, 25, 43 and 64 - 8, 25, 43.
                const u32 upper = permute(0x006B5948, 0x00152738, numbers[0] >> 16 * m);
                const u32 lower = permute(0x006B5948, 0x00152738, numbers[1] >> 16 * m);
#pragma unroll
                for (int n = 0; n < NT; ++n)
                    multiply_onto(
                        block[n], m ? block[n] : offsets[b][n], permute(upper, 0, 0x4140), permute(lower, 0, 0x4140), permute(upper, 0, 0x4342),
                        permute(lower, 0, 0x4342), x.pair[n][b][2 * m], x.pair[n][b][2 * m + 1]
                    );
            }
            const u32 step = __shfl_sync(~0u, steps, b, 4);
            const float upper_step = low_half(step), lower_step = high_half(step);
#pragma unroll
            for (int n = 0; n < NT; ++n)
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const float more = block[n][i] * (i < 2 ? upper_step : lower_step);
                    part[n][i] = b ? part[n][i] + more : more;
                }
        }
#pragma unroll
        for (int n = 0; n < NT; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) sums[n][i] += part[n][i] * (i < 2 ? low_half(side.pair) : high_half(side.pair));
    }

    __device__ __forceinline__ void rescale(int, float, float) {}

    __device__ __forceinline__ float finish(float sum, int, int) const { return sum; }

    static __device__ __forceinline__ float rescaled(const Arguments&, float sum, int) { return sum; }
};

#include "matvec/decode.cu"
