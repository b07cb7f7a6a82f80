// Code words of E8P. Defined before: ONE_SCALE.
//
// Bytes b of words 0 and 1 of a lane are the pattern of block b in rows g and g + 8, of words 2 and 3 the signs. The
// table has, for a pattern and for a sign byte, eight numbers of four bits whose exclusive or n is 2 v + 15 / 2, v the
// coordinate: coordinate 2 p + e in bits 4 p + 16 e. Each lane has its own bank.

#include "matvec/skeleton.cu"
#include "matvec/table.cu"

struct Code {
    static const int TABLE = 65536;
    static constexpr float OUTER = 0.5f;
    struct Side {};
    Sums totals;
    u32 place;

    static __device__ __forceinline__ int fold(int pair) { return 4 * (pair & 1); }

    static __device__ __forceinline__ const u32* place_of_sides(const Arguments&, int, int, int) { return nullptr; }

    static __device__ __forceinline__ Side side(const u32*, int) { return Side(); }

    __device__ __forceinline__ Code(const Arguments& of, int lane) : place(lane * 4) {
        fill_table(of.table);
#pragma unroll
        for (int n = 0; n < NT; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) totals[n][i] = 0;
    }

    __device__ __forceinline__ void prepare(const Columns& x) {
#pragma unroll
        for (int n = 0; n < NT; ++n)
#pragma unroll
            for (int b = 0; b < 4; ++b)
#pragma unroll
                for (int m = 0; m < 2; ++m)
                    multiply(
                        totals[n], 0x00010001, 0x00010001, 0x00100010, 0x00100010, x.pair[n][b][2 * m],
                        x.pair[n][b][2 * m + 1]
                    );
    }

    __device__ __forceinline__ void tile(Sums& sums, const Words& words, const Side&, const Columns& x) {
#pragma unroll
        for (int b = 0; b < 4; ++b) {
            const u32 upper = look_up(words.w[0], words.w[2], b, place), lower = look_up(words.w[1], words.w[3], b, place);
#pragma unroll
            for (int m = 0; m < 2; ++m)
#pragma unroll
                for (int n = 0; n < NT; ++n)
                    multiply(
                        sums[n], upper >> 8 * m & 0x000F000F, lower >> 8 * m & 0x000F000F, upper >> 8 * m & 0x00F000F0,
                        lower >> 8 * m & 0x00F000F0, x.pair[n][b][2 * m], x.pair[n][b][2 * m + 1]
                    );
        }
    }

    __device__ __forceinline__ void rescale(int n, float left, float right) { ::rescale(totals[n], left, right); }

    __device__ __forceinline__ float finish(float sum, int n, int i) const { return sum - 7.5f * totals[n][i]; }

    static __device__ __forceinline__ float rescaled(const Arguments& of, float sum, int output) { return sum * low_half(of.row_scales[ONE_SCALE ? 0 : output]); }
};

#include "matvec/decode.cu"
