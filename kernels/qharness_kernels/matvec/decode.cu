// The kernel. `Code` is defined before: TABLE, bytes of its table in shared memory; OUTER, a factor of all weights; fold(),
// by how many bits the field of a pair is shifted; Side and side(), what a tile needs besides its words; prepare(), what
// is the same for all tiles of 128 columns; tile(), which adds a tile's product; finish() and rescaled(), what is done
// with the sums of a warp and of all.

extern __shared__ char shared[];

__device__ __forceinline__ u32 shared_address(const void* pointer) {
    return (u32)__cvta_generic_to_shared(pointer);
}

__device__ __forceinline__ void cluster_barrier() {
    asm volatile("barrier.cluster.arrive;\n\tbarrier.cluster.wait;" ::: "memory");
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) CLUSTER decode(const Arguments of) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const int part = blockIdx.x % SPLIT, first = blockIdx.x / SPLIT * ROW_TILES;
    const int end = GROUPS < (part + 1) * PART ? GROUPS : (part + 1) * PART;
    int group = part * PART + warp;

    Words words[ROW_TILES];
    Code::Side sides[ROW_TILES];
#pragma unroll
    for (int r = 0; r < ROW_TILES; ++r) {
        const int tile = first + r < TILES ? first + r : TILES - 1;
        if (group < end) {
            words[r] = stream(of.payload + ((long long)tile * GROUPS + group) * 32 + lane);
            sides[r] = Code::side(of, tile, group, lane);
        }
    }
    Code code(of, lane);
    // Weights, scales and tables do not depend on the kernel before; x does.
    asm volatile("griddepcontrol.wait;" ::: "memory");
    asm volatile("griddepcontrol.launch_dependents;");

    // A warp with one group keeps its part of x in registers; others read it again, from the first-level cache.
    const bool once = WARPS >= PART;
    Words kept[NT][4];
    int exponent[NT];
#pragma unroll
    for (int n = 0; n < NT; ++n) {
        u32 most = 0;
        for (int k = group; k < end; k += WARPS)
#pragma unroll
            for (int b = 0; b < 4; ++b) {
                const Words part_of_x = load_x(of, 8 * n + (lane >> 2), 128 * k + 32 * b + 8 * (lane & 3));
                if (once) kept[n][b] = part_of_x;
                most = largest_of(most, part_of_x);
            }
        most = largest(most, __shfl_xor_sync(~0u, most, 1));
        most = largest(most, __shfl_xor_sync(~0u, most, 2));
        exponent[n] = scale_exponent(most);
    }
    if (Code::TABLE) __syncthreads();

    Sums sums[ROW_TILES];
#pragma unroll
    for (int r = 0; r < ROW_TILES; ++r)
#pragma unroll
        for (int n = 0; n < NT; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) sums[r][n][i] = 0;

    for (; group < end; group += WARPS) {
        Columns x;
#pragma unroll
        for (int n = 0; n < NT; ++n)
#pragma unroll
            for (int b = 0; b < 4; ++b) {
                const int column = 128 * group + 32 * b + 8 * (lane & 3);
                const Words part_of_x = once ? kept[n][b] : load_x(of, 8 * n + (lane >> 2), column);
#pragma unroll
                for (int p = 0; p < 4; ++p) x.pair[n][b][p] = scaled(part_of_x.w[p], exponent[n] - Code::fold(p));
            }
        code.prepare(x);
#pragma unroll
        for (int r = 0; r < ROW_TILES; ++r) {
            const Words now = words[r];
            const Code::Side side = sides[r];
            const int tile = first + r < TILES ? first + r : TILES - 1;
            if (group + WARPS < end) {
                words[r] = stream(of.payload + ((long long)tile * GROUPS + group + WARPS) * 32 + lane);
                sides[r] = Code::side(of, tile, group + WARPS, lane);
            }
            code.tile(sums[r], now, side, x);
        }
    }

    float* partial = (float*)(shared + Code::TABLE);
#pragma unroll
    for (int n = 0; n < NT; ++n) {
        const int column = 8 * n + 2 * (lane & 3), row = lane >> 2;
        const float left = power(-__shfl_sync(~0u, exponent[n], 8 * (lane & 3)));
        const float right = power(-__shfl_sync(~0u, exponent[n], 8 * (lane & 3) + 4));
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
        if (output < OUT) {
            of.y[(long long)row * OUT + output] = rounded(Code::rescaled(of, sum, output));
        }
    }
#if SPLIT > 1
    cluster_barrier();
#endif
}
