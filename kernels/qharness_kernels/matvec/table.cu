// A table of 256 pairs of words in shared memory, a copy in every bank: word 0 of pair i at 256 i + 4 lane, word 1 at
// 128 bytes above.

__device__ __forceinline__ void fill_table(const u32* table) {
    extern __shared__ char shared[];
#pragma unroll 16
    for (int chunk = threadIdx.x; chunk < 4096; chunk += THREADS) {
        const u32 word = table[chunk / 8];
        ((uint4*)shared)[chunk] = make_uint4(word, word, word, word);
    }
}

// Word 0 of the pair at byte b of `first`, exclusive or word 1 of that at byte b of `second`.
__device__ __forceinline__ u32 look_up(u32 first, u32 second, int b, u32 place) {
    extern __shared__ char shared[];
    const u32 selector = 0x5504 | b << 4;
    return *(const u32*)(shared + permute(first, place, selector)) ^
           *(const u32*)(shared + permute(second, place, selector) + 128);
}
