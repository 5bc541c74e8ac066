/* Large blocks of memory, in large pages where the system has them. */
#ifndef OPWEAVE_MEMORY_H
#define OPWEAVE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

struct ow_block {
    unsigned char *bytes;       /* aligned to 64; NULL: nothing */
    uint64_t size;              /* bytes that may be used */
    void *region;               /* what is given back */
    uint64_t region_bytes;      /* 0: region came from malloc */
};

/* 0, or -1 when there is no memory. The bytes are not initialised. */
int ow_allocate(struct ow_block *block, uint64_t bytes);
void ow_release(struct ow_block *block);

/* Bytes of main memory. */
uint64_t ow_physical_memory(void);

#endif
