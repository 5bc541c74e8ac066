/* Kernels walk through megabytes in long strides: with pages of 4 KiB most steps miss the
 * processor's table of pages, and networks run up to a fifth slower. */
#define _GNU_SOURCE
#include "memory.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ALIGNMENT = 64, LARGE_PAGE = 2 << 20, LEAST_LARGE = 1 << 20 };

int ow_allocate(struct ow_block *block, uint64_t bytes)
{
    uint64_t region_bytes;
    uintptr_t start;

    block->bytes = NULL;
    block->size = bytes;
    block->region = NULL;
    block->region_bytes = 0;
    if (bytes > (uint64_t)PTRDIFF_MAX - 2 * LARGE_PAGE)
        return -1;
    if (bytes < LEAST_LARGE) {
        block->region = malloc((size_t)bytes + ALIGNMENT);
        if (block->region == NULL)
            return -1;
        start = ((uintptr_t)block->region + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1);
        block->bytes = (unsigned char *)start;
        return 0;
    }
    region_bytes = (bytes + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE + LARGE_PAGE;
    block->region = mmap(NULL, (size_t)region_bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block->region == MAP_FAILED) {
        block->region = NULL;
        return -1;
    }
    block->region_bytes = region_bytes;
#ifdef MADV_HUGEPAGE
    (void)madvise(block->region, (size_t)region_bytes, MADV_HUGEPAGE); /* only advice */
#endif
    start = ((uintptr_t)block->region + LARGE_PAGE - 1) & ~(uintptr_t)(LARGE_PAGE - 1);
    block->bytes = (unsigned char *)start;
    return 0;
}

void ow_release(struct ow_block *block)
{
    if (block->region_bytes > 0)
        munmap(block->region, (size_t)block->region_bytes);
    else
        free(block->region);
    block->bytes = NULL;
    block->region = NULL;
    block->region_bytes = 0;
    block->size = 0;
}

uint64_t ow_physical_memory(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE) * (uint64_t)sysconf(_SC_PHYS_PAGES);
}
