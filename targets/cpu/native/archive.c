#include "archive.h"

#include <stdlib.h>
#include <string.h>

#include "inflate.h"
#include "numpy_file.h"

enum {
    LOCAL = 0x04034b50, CENTRAL = 0x02014b50, END = 0x06054b50, END_64 = 0x06064b50,
    LOCATOR_64 = 0x07064b50,
    LOCAL_BYTES = 30, CENTRAL_BYTES = 46, END_BYTES = 22, END_64_BYTES = 56, LOCATOR_BYTES = 20,
    EXTRA_64 = 1, STORED = 0, DEFLATED = 8, VERSION_64 = 45, UTF8_FLAG = 0x800, ENCRYPTED_FLAG = 1
};

static uint64_t get(const unsigned char *bytes, int count)
{
    uint64_t found = 0;

    while (count-- > 0)
        found = found << 8 | bytes[count];
    return found;
}

int ow_is_archive(const unsigned char *bytes, uint64_t size)
{
    return size >= 4 && (get(bytes, 4) == LOCAL || get(bytes, 4) == END);
}

int ow_open_archive(struct ow_archive *archive, const unsigned char *bytes, uint64_t size)
{
    uint64_t place, end_64;

    if (size < END_BYTES)
        return 0;
    place = size - END_BYTES;
    while (get(bytes + place, 4) != END) {
        if (place == 0 || size - place > 0xffff + END_BYTES)
            return 0;
        place--;
    }
    archive->bytes = bytes;
    archive->size = size;
    archive->left = get(bytes + place + 10, 2);
    archive->place = get(bytes + place + 16, 4);
    if (place >= LOCATOR_BYTES && get(bytes + place - LOCATOR_BYTES, 4) == LOCATOR_64) {
        end_64 = get(bytes + place - LOCATOR_BYTES + 8, 8);
        if (end_64 > size - END_BYTES || size - end_64 < END_64_BYTES ||
            get(bytes + end_64, 4) != END_64)
            return 0;
        archive->left = get(bytes + end_64 + 32, 8);
        archive->place = get(bytes + end_64 + 48, 8);
    }
    return archive->place <= size;
}

/* Sizes and place that did not fit 32 bits stand in an extra field. */
static int read_extra(const unsigned char *extra, uint64_t length, struct ow_entry *entry)
{
    uint64_t *fields[] = {&entry->size, &entry->stored, &entry->start}, count, place;
    size_t number;

    while (length >= 4) {
        count = get(extra + 2, 2);
        if (count > length - 4)
            return 0;
        if (get(extra, 2) == EXTRA_64) {
            place = 4;
            for (number = 0; number < 3; number++) {
                if (*fields[number] != 0xffffffff)
                    continue;
                if (place + 8 > count + 4)
                    return 0;
                *fields[number] = get(extra + place, 8);
                place += 8;
            }
        }
        extra += count + 4;
        length -= count + 4;
    }
    return 1;
}

int ow_next_entry(struct ow_archive *archive, struct ow_entry *entry)
{
    const unsigned char *head = archive->bytes + archive->place;
    uint64_t rest = archive->size - archive->place, name, extra, comment, kept, method;

    if (archive->left == 0)
        return 0;
    if (rest < CENTRAL_BYTES || get(head, 4) != CENTRAL)
        return -1;
    name = get(head + 28, 2);
    extra = get(head + 30, 2);
    comment = get(head + 32, 2);
    if (CENTRAL_BYTES + name + extra + comment > rest)
        return -1;
    method = get(head + 10, 2);
    entry->is_deflated = method == DEFLATED;
    entry->check = (uint32_t)get(head + 16, 4);
    entry->stored = get(head + 20, 4);
    entry->size = get(head + 24, 4);
    entry->start = get(head + 42, 4);
    if ((get(head + 8, 2) & ENCRYPTED_FLAG) != 0 || (method != STORED && method != DEFLATED) ||
        !read_extra(head + CENTRAL_BYTES + name, extra, entry))
        return -1;
    kept = name;
    if (name >= 4 && memcmp(head + CENTRAL_BYTES + name - 4, ".npy", 4) == 0)
        kept -= 4;
    if (kept > sizeof entry->name - 1)
        kept = sizeof entry->name - 1;
    memcpy(entry->name, head + CENTRAL_BYTES, (size_t)kept);
    entry->name[kept] = '\0';
    archive->place += CENTRAL_BYTES + name + extra + comment;
    archive->left--;
    /* The local header's own lengths say where the content begins. */
    if (archive->size < LOCAL_BYTES || entry->start > archive->size - LOCAL_BYTES ||
        get(archive->bytes + entry->start, 4) != LOCAL)
        return -1;
    entry->start += LOCAL_BYTES + get(archive->bytes + entry->start + 26, 2) +
                    get(archive->bytes + entry->start + 28, 2);
    if (entry->start > archive->size || entry->stored > archive->size - entry->start)
        return -1;
    /* Nothing that deflates well is larger than this; a bomb is not unpacked. */
    if (entry->is_deflated ? entry->size / 1032 > entry->stored : entry->size != entry->stored)
        return -1;
    return 1;
}

static uint32_t crc_of(uint32_t crc, const unsigned char *bytes, uint64_t count)
{
    uint32_t table[256], value;
    int number, bit;

    for (number = 0; number < 256; number++) {
        value = (uint32_t)number;
        for (bit = 0; bit < 8; bit++)
            value = value & 1 ? value >> 1 ^ 0xedb88320u : value >> 1;
        table[number] = value;
    }
    crc = ~crc;
    while (count-- > 0)
        crc = crc >> 8 ^ table[(crc ^ *bytes++) & 0xff];
    return ~crc;
}

unsigned char *ow_extract(const struct ow_archive *archive, const struct ow_entry *entry)
{
    unsigned char *content = ow_new_data(entry->size);
    const unsigned char *stored = archive->bytes + entry->start;

    if (content == NULL)
        return NULL;
    if (!entry->is_deflated)
        memcpy(content, stored, (size_t)entry->size);
    else if (!ow_inflate(stored, entry->stored, content, entry->size)) {
        free(content);
        return NULL;
    }
    if (crc_of(0, content, entry->size) != entry->check) {
        free(content);
        return NULL;
    }
    return content;
}

/* --- writing ---------------------------------------------------------------------------------- */

static unsigned char *put(unsigned char *target, uint64_t number, int count)
{
    while (count-- > 0) {
        *target++ = (unsigned char)(number & 0xff);
        number >>= 8;
    }
    return target;
}

/* What local and central headers share, from the version on. Sizes stand in the extra field. */
static unsigned char *put_common(unsigned char *target, uint32_t check, size_t name, int extra)
{
    target = put(target, VERSION_64, 2);
    target = put(target, UTF8_FLAG, 2);
    target = put(target, STORED, 2);
    target = put(target, 0x00210000, 4); /* 1 January 1980: equal outputs are equal files */
    target = put(target, check, 4);
    target = put(target, 0xffffffff, 4);
    target = put(target, 0xffffffff, 4);
    target = put(target, name, 2);
    return put(target, (uint64_t)extra, 2);
}

static int write_all(FILE *file, const void *bytes, uint64_t count)
{
    return count == 0 || fwrite(bytes, 1, (size_t)count, file) == count ? 0 : -1;
}

static int write_name(FILE *file, const char *name)
{
    return write_all(file, name, strlen(name)) == 0 && write_all(file, ".npy", 4) == 0 ? 0 : -1;
}

static int write_local(FILE *file, const struct ow_value *value, const char *name, uint32_t *check,
                       uint64_t *place)
{
    char header[OW_NPY_HEADER_ROOM];
    uint64_t length = ow_npy_header(header, value), size = length + value->bytes;
    unsigned char local[LOCAL_BYTES], extra[20], *end;

    *check = crc_of(0, (const unsigned char *)header, length);
    *check = crc_of(*check, value->data, value->bytes);
    end = put(local, LOCAL, 4);
    (void)put_common(end, *check, strlen(name) + 4, sizeof extra);
    end = put(extra, EXTRA_64, 2);
    end = put(end, 16, 2);
    end = put(end, size, 8);
    (void)put(end, size, 8);
    *place += sizeof local + strlen(name) + 4 + sizeof extra + size;
    return write_all(file, local, sizeof local) == 0 && write_name(file, name) == 0 &&
                   write_all(file, extra, sizeof extra) == 0 &&
                   write_all(file, header, length) == 0 &&
                   write_all(file, value->data, value->bytes) == 0
               ? 0 : -1;
}

static int write_central(FILE *file, const struct ow_value *value, const char *name,
                         uint32_t check, uint64_t start, uint64_t *place)
{
    char header[OW_NPY_HEADER_ROOM];
    uint64_t size = ow_npy_header(header, value) + value->bytes;
    unsigned char central[CENTRAL_BYTES], extra[28], *end;

    memset(central, 0, sizeof central);
    end = put(central, CENTRAL, 4);
    end = put(end, 3 << 8 | VERSION_64, 2); /* made by Unix */
    (void)put_common(end, check, strlen(name) + 4, sizeof extra);
    (void)put(central + 38, 0100644u << 16, 4);
    (void)put(central + 42, 0xffffffff, 4);
    end = put(extra, EXTRA_64, 2);
    end = put(end, 24, 2);
    end = put(end, size, 8);
    end = put(end, size, 8);
    (void)put(end, start, 8);
    *place += sizeof central + strlen(name) + 4 + sizeof extra;
    return write_all(file, central, sizeof central) == 0 && write_name(file, name) == 0 &&
                   write_all(file, extra, sizeof extra) == 0
               ? 0 : -1;
}

static int write_end(FILE *file, uint64_t count, uint64_t start, uint64_t end_place)
{
    unsigned char bytes[END_64_BYTES + LOCATOR_BYTES + END_BYTES], *end = bytes;

    end = put(end, END_64, 4);
    end = put(end, END_64_BYTES - 12, 8);
    end = put(end, 3 << 8 | VERSION_64, 2);
    end = put(end, VERSION_64, 2);
    end = put(end, 0, 8); /* disks */
    end = put(end, count, 8);
    end = put(end, count, 8);
    end = put(end, end_place - start, 8);
    end = put(end, start, 8);
    end = put(end, LOCATOR_64, 4);
    end = put(end, 0, 4);
    end = put(end, end_place, 8);
    end = put(end, 1, 4);
    end = put(end, END, 4);
    end = put(end, 0, 4);
    end = put(end, 0xffff, 2);
    end = put(end, 0xffff, 2);
    end = put(end, 0xffffffff, 4);
    end = put(end, 0xffffffff, 4);
    (void)put(end, 0, 2);
    return write_all(file, bytes, sizeof bytes);
}

int ow_write_archive(FILE *file, const struct ow_value *values, const char *const *names,
                     int32_t count)
{
    uint64_t *starts = calloc((size_t)count + 1, sizeof *starts), place = 0, directory;
    uint32_t *checks = calloc((size_t)count + 1, sizeof *checks);
    int status = starts == NULL || checks == NULL ? -1 : 0;
    int32_t number;

    for (number = 0; number < count && status == 0; number++) {
        starts[number] = place;
        status = write_local(file, &values[number], names[number], &checks[number], &place);
    }
    directory = place;
    for (number = 0; number < count && status == 0; number++)
        status = write_central(file, &values[number], names[number], checks[number],
                               starts[number], &place);
    if (status == 0)
        status = write_end(file, (uint64_t)count, directory, place);
    free(starts);
    free(checks);
    return status;
}
