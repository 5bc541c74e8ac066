/* Decompression: RFC 1951, "DEFLATE Compressed Data Format Specification", version 1.3. */
#ifndef OPWEAVE_INFLATE_H
#define OPWEAVE_INFLATE_H

#include <stdint.h>

/* 1 when source decompresses to exactly size bytes. */
int ow_inflate(const unsigned char *source, uint64_t source_size, unsigned char *target,
               uint64_t size);

#endif
