// The kernel. `Code` is defined before: TABLE, bytes of its table in shared memory; OUTER, a factor of all weights; fold(),
// by how many bits the field of a pair is shifted; Side, what a tile needs besides its words, place_of_sides() and side();
// prepare(), what is the same for all tiles of 128 columns; tile(), which adds a tile's product; rescale(), finish() and rescaled(), what
// is done with the code's own sums, with the sums of a warp, and with those of all.

extern __shared__ char shared[];

__device__ __forceinline__ void cluster_barrier() {
    asm volatile("barrier.cluster.arrive;\n\tbarrier.cluster.wait;" ::: "memory");
}

// A warp's part of 128 columns of x, as it is in memory.
struct Raw {
    Words words[NT][4];
};

__device__ __forceinline__ Raw read_x(const Arguments& of, int group, int end, int lane) {
    Raw r;
#pragma unroll
    for (int n = 0; n < NT; ++n)
#pragma unroll
        for (int b = 0; b < 4; ++b)
            r.words[n][b] = load_x(of, group < end ? 8 * n + (lane >> 2) : of.rows, 128 * group + 32 * b + 8 * (lane & 3));
    return r;
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
#if SPLIT > 1
    __cluster_dims__(SPLIT, 1, 1)
#endif
    decode(const Words* payload, const u32* side, const u32* table, const u16* x_of_all, u16* y, const u16* row_scales, int rows) {
    const Arguments of = {payload, side, table, x_of_all, y, row_scales, rows};
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    // The last block may share tiles with the one before; both write the same.
    const int part = blockIdx.x % SPLIT, unit = blockIdx.x / SPLIT * ROW_TILES;
    const int first = unit < TILES - ROW_TILES ? unit : TILES - ROW_TILES;
    const int end = GROUPS < (part + 1) * PART ? GROUPS : (part + 1) * PART;
    int group = part * PART + warp;

    // The next kernel may start to read its weights; this one waits, with its own on the way, for what it depends on.
    asm volatile("griddepcontrol.launch_dependents;");
    const Words* from = of.payload + ((long long)first * GROUPS + group) * 32 + lane;
    const u32 ring = shared_address(shared + Code::TABLE) + warp * (AHEAD * 512) + lane * 16;
    u32 slot = ring;
#pragma unroll
    for (int i = 0; i < AHEAD; ++i) {
        if (group + i / ROW_TILES * WARPS < end)
            start_copy(ring + i * 512, from + (i % ROW_TILES * GROUPS + i / ROW_TILES * WARPS) * 32);
        asm volatile("cp.async.commit_group;" ::: "memory");
    }
    typename Code::Side sides[ROW_TILES];
    if (group < end) {
        const u32* place = Code::place_of_sides(of, first, group, lane);
#pragma unroll
        for (int r = 0; r < ROW_TILES; ++r) sides[r] = Code::side(place, r);
    }
    Code code(of, lane);
    asm volatile("griddepcontrol.wait;" ::: "memory");
    Raw raw = read_x(of, group, end, lane);
    if (Code::TABLE) __syncthreads();

    int exponent[NT];
    Sums sums[ROW_TILES];
#pragma unroll
    for (int n = 0; n < NT; ++n) {
        exponent[n] = MOST_EXPONENT;
#pragma unroll
        for (int r = 0; r < ROW_TILES; ++r)
#pragma unroll
            for (int i = 0; i < 4; ++i) sums[r][n][i] = 0;
    }

    for (; group < end; group += WARPS, from += WARPS * 32) {
        Columns x;
#pragma unroll
        for (int n = 0; n < NT; ++n) {
            u32 most = 0;
#pragma unroll
            for (int b = 0; b < 4; ++b) most = largest_of(most, raw.words[n][b]);
            most = largest(most, __shfl_xor_sync(~0u, most, 1));
            most = largest(most, __shfl_xor_sync(~0u, most, 2));
            const int fit = scale_exponent(most), change = fit < exponent[n] ? fit - exponent[n] : 0;
            exponent[n] += change;
            if (__any_sync(~0u, change)) {
                const float left = factor_of(change, lane, 0), right = factor_of(change, lane, 1);
#pragma unroll
                for (int r = 0; r < ROW_TILES; ++r) rescale(sums[r][n], left, right);
                code.rescale(n, left, right);
            }
#pragma unroll
            for (int b = 0; b < 4; ++b)
#pragma unroll
                for (int p = 0; p < 4; ++p)
                    x.pair[n][b][p] = scaled(raw.words[n][b].w[p], exponent[n] - Code::fold(p));
        }
        raw = read_x(of, group + WARPS, end, lane);
        code.prepare(x);
        const u32* place = Code::place_of_sides(of, first, group + WARPS < end ? group + WARPS : group, lane);
#pragma unroll
        for (int r = 0; r < ROW_TILES; ++r) {
            asm volatile("cp.async.wait_group %0;" ::"n"(AHEAD - 1) : "memory");
            const Words now = read_copy(slot);
            const typename Code::Side side = sides[r];
            sides[r] = Code::side(place, r);
            code.tile(sums[r], now, side, x);
            const int step = (r + AHEAD) / ROW_TILES * WARPS;
            if (group + step < end) start_copy(slot, from + ((r + AHEAD) % ROW_TILES * GROUPS + step) * 32);
            asm volatile("cp.async.commit_group;" ::: "memory");
            slot = slot == ring + (AHEAD - 1) * 512 ? ring : slot + 512;
        }
    }

    // The sums take the place of the copies.
    __syncthreads();
    float* partial = (float*)(shared + Code::TABLE);
#pragma unroll
    for (int n = 0; n < NT; ++n) {
        const int column = 8 * n + 2 * (lane & 3), row = lane >> 2;
        const float left = factor_of(-exponent[n], lane, 0), right = factor_of(-exponent[n], lane, 1);
#pragma unroll
        for (int r = 0; r < ROW_TILES; ++r) {
            float* place = partial + (warp * of.rows + column) * STRIDE + 16 * r + row;
            float value[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) value[i] = code.finish(sums[r][n][i], n, i) * (16777216.0f * Code::OUTER);
            if (column < of.rows) place[0] = value[0] * left, place[8] = value[2] * left;
            if (column + 1 < of.rows) place[STRIDE] = value[1] * right, place[STRIDE + 8] = value[3] * right;
        }
    }
    __syncthreads();

    const int count = of.rows * ROW_TILES * 16;
#if SPLIT > 1
    float* whole = partial + WARPS * of.rows * STRIDE;
#endif
    for (int i = threadIdx.x; i < count; i += THREADS) {
        const int row = i / (ROW_TILES * 16), o = i % (ROW_TILES * 16);
        float sum = 0;
#pragma unroll
        for (int w = 0; w < WARPS; ++w) sum += partial[(w * of.rows + row) * STRIDE + o];
#if SPLIT > 1
        whole[i] = sum;
    }
    cluster_barrier();
    for (int i = part * THREADS + threadIdx.x; i < count; i += SPLIT * THREADS) {
        const int row = i / (ROW_TILES * 16), o = i % (ROW_TILES * 16);
        float sum = 0;
#pragma unroll
        for (int s = 0; s < SPLIT; ++s) {
            u32 address;
            float value;
            asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(shared_address(whole + i)), "r"(s));
            asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(value) : "r"(address) : "memory");
            sum += value;
        }
#endif
        const int output = first * 16 + o;
        if (output < OUT) of.y[(long long)row * OUT + output] = rounded(Code::rescaled(of, sum, output));
    }
#if SPLIT > 1
    cluster_barrier();
#endif
}
