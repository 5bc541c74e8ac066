/* .npz files, which are ZIP archives: PKWARE's APPNOTE.TXT, version 6.3.10. */
#ifndef OPWEAVE_ARCHIVE_H
#define OPWEAVE_ARCHIVE_H

#include <stdint.h>
#include <stdio.h>

#include "runtime.h"

int ow_is_archive(const unsigned char *bytes, uint64_t size);

struct ow_archive {
    const unsigned char *bytes;
    uint64_t size;
    uint64_t place;             /* of the next entry in the directory */
    uint64_t left;              /* entries */
};

struct ow_entry {
    char name[256];             /* without ".npy"; longer ones are cut */
    uint64_t start, stored, size;
    uint32_t check;             /* CRC-32 of the content */
    int is_deflated;
};

/* 0 when the archive has no directory. */
int ow_open_archive(struct ow_archive *archive, const unsigned char *bytes, uint64_t size);

/* 1 and the next entry, 0 at the end, -1 when the directory is damaged or has what .npz files do
 * not have. */
int ow_next_entry(struct ow_archive *archive, struct ow_entry *entry);

/* The content in new memory, or NULL when it is damaged or there is no memory. */
unsigned char *ow_extract(const struct ow_archive *archive, const struct ow_entry *entry);

/* Writes values as .npy entries of a .npz file; -1 when writing fails. */
int ow_write_archive(FILE *file, const struct ow_value *values, const char *const *names,
                     int32_t count);

#endif
