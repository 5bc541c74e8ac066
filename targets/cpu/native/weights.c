#define _GNU_SOURCE
#include "weights.h"

#ifndef OW_PROGRAM
#include <dlfcn.h>
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pool.h"

/* Who runs once wants the first answer, who runs often the shortest runs. */
enum { RUNS_BEFORE_COPY = 2, LEAST_LARGE = 2 << 20, PAGE = 4096, READ_AT_ONCE = 4 << 20,
       COPIED_AT_ONCE = 4 << 20 };
enum { FILE_START = 4096 };     /* weights in a file begin here; its first 8 bytes are a check */

/* The path of this library, or of this program; its length, 0 when the system does not tell. */
static size_t own_path(char *own, size_t room)
{
#ifdef OW_PROGRAM
    /* What a program was called by need not be where it is. */
    ssize_t length = readlink("/proc/self/exe", own, room - 1);

    own[length > 0 ? length : 0] = '\0';
    return length > 0 ? (size_t)length : 0;
#else
    Dl_info information;
    int length;

    if (dladdr((const void *)&ow_description, &information) == 0 || information.dli_fname == NULL)
        return 0;
    length = snprintf(own, room, "%s", information.dli_fname);
    return length < 0 || (size_t)length >= room ? 0 : (size_t)length;
#endif
}

/* The path of a file beside this library or program; 0, or -1 when it is not known. */
static int beside(char *path, size_t room, const char *name)
{
    char own[4096];
    const char *slash;
    int written;

    if (own_path(own, sizeof own) == 0)
        return -1;
    slash = strrchr(own, '/');
    written = snprintf(path, room, "%.*s%s", slash == NULL ? 0 : (int)(slash - own) + 1, own, name);
    return written < 0 || (size_t)written >= room ? -1 : 0;
}

static int32_t map_file(struct ow_weights *weights, const char *given, struct ow_message *message)
{
    const struct ow_description *model = &ow_description;
    char path[8192];
    struct stat status;
    uint64_t check, wanted = (uint64_t)FILE_START + (uint64_t)model->weight_bytes;
    void *mapping = MAP_FAILED;
    int file;

    if (given != NULL ? snprintf(path, sizeof path, "%s", given) >= (int)sizeof path
                      : beside(path, sizeof path, model->weights_file) != 0) {
        ow_say(message, "the path of the file of weights, %s, is too long or not known", model->weights_file);
        return OW_FILES;
    }
    file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        ow_say(message, "the weights cannot be read: %s: %s; they belong beside %s", path,
               strerror(errno), model->name);
        return OW_FILES;
    }
    if (fstat(file, &status) == 0 && (uint64_t)status.st_size == wanted)
        mapping = mmap(NULL, (size_t)wanted, PROT_READ, MAP_PRIVATE, file, 0);
    close(file);
    if (mapping == MAP_FAILED) {
        ow_say(message, "%s does not hold the weights of %s: it is not %llu bytes long, or cannot "
               "be mapped", path, model->name, (unsigned long long)wanted);
        return OW_INVALID;
    }
    memcpy(&check, mapping, sizeof check);
    if (check != model->weights_check) {
        munmap(mapping, (size_t)wanted);
        ow_say(message, "%s holds the weights of another model than %s", path, model->name);
        return OW_INVALID;
    }
    weights->mapping = mapping;
    weights->mapping_bytes = wanted;
    weights->start = (const unsigned char *)mapping + FILE_START;
    return OW_OK;
}

static _Atomic int64_t *addresses_from(const unsigned char *start)
{
    int32_t count = ow_description.parameter_count, number;
    _Atomic int64_t *table = malloc(((size_t)count + 1) * sizeof *table);

    if (table != NULL)
        for (number = 0; number < count; number++)
            atomic_init(&table[number],
                        (int64_t)(intptr_t)(start + ow_description.parameter_places[number]));
    return table;
}

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22   /* Linux 5.14 */
#endif

/* Lets the system map the pages before the first run comes to them, which would wait for each. */
static void *read_ahead(void *argument)
{
    struct ow_weights *weights = argument;
    uintptr_t place = (uintptr_t)weights->start & ~(uintptr_t)(PAGE - 1);
    uintptr_t end = (uintptr_t)weights->start + (uintptr_t)ow_description.weight_bytes;
    size_t count;

    for (; place < end && !atomic_load(&weights->is_read_enough); place += count) {
        count = end - place < READ_AT_ONCE ? end - place : READ_AT_ONCE;
        if (madvise((void *)place, count, MADV_POPULATE_READ) != 0)
            break; /* an older system */
    }
    return NULL;
}

int32_t ow_open_weights(struct ow_weights *weights, const char *path, int stay,
                        struct ow_message *message)
{
    int32_t status = OW_OK;

    memset(weights, 0, sizeof *weights);
    weights->start = ow_description.weights;
    if (ow_description.weights_file != NULL && ow_description.weight_bytes > 0)
        status = map_file(weights, path, message);
    if (status != OW_OK)
        return status;
    weights->addresses = addresses_from(weights->start);
    if (weights->addresses == NULL) {
        ow_close_weights(weights);
        ow_say(message, "there is no memory for the addresses of the parameters");
        return OW_LIMIT;
    }
    /* Small weights cost nothing on small pages. */
    stay |= ow_description.weight_bytes < LEAST_LARGE;
    atomic_init(&weights->runs, stay ? RUNS_BEFORE_COPY : 0);
    atomic_init(&weights->is_read_enough, 0);
    weights->is_read = !stay && ow_start_thread(&weights->reader, read_ahead, weights) == 0;
    return OW_OK;
}

/* Gives back the mapped pages that lie whole between two places among the weights. Runs that
 * still read them get them again from the file. */
static void give_back_pages(const struct ow_weights *weights, uint64_t from, uint64_t to)
{
    uintptr_t first = ((uintptr_t)weights->start + from + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
    uintptr_t last = ((uintptr_t)weights->start + to) & ~(uintptr_t)(PAGE - 1);

    if (last > first)
        (void)madvise((void *)first, last - first, MADV_DONTNEED);
}

/* Piece by piece, so that hardly any weights are in memory twice. An address in the table is
 * changed when what it stands for is copied: a run gets the old or the new one. */
static void *copy_weights(void *argument)
{
    struct ow_weights *weights = argument;
    const int64_t *places = ow_description.parameter_places;
    int32_t count = ow_description.parameter_count, number = 0;
    uint64_t bytes = (uint64_t)ow_description.weight_bytes, done = 0, piece;

    if (ow_allocate(&weights->copy, bytes) != 0)
        return NULL; /* the mapped ones will do */
    atomic_store(&weights->is_read_enough, 1);
    while (done < bytes) {
        piece = bytes - done < COPIED_AT_ONCE ? bytes - done : COPIED_AT_ONCE;
        memcpy(weights->copy.bytes + done, weights->start + done, (size_t)piece);
        done += piece;
        for (; number < count; number++) {
            if (done < (number + 1 < count ? (uint64_t)places[number + 1] : bytes))
                break;
            atomic_store(&weights->addresses[number],
                         (int64_t)(intptr_t)(weights->copy.bytes + places[number]));
        }
        /* The last page of this piece also begins the next one. */
        give_back_pages(weights, done - piece < PAGE ? 0 : done - piece - PAGE, done);
    }
    give_back_pages(weights, 0, bytes);
    return NULL;
}

void ow_note_run(struct ow_weights *weights)
{
    if (atomic_load_explicit(&weights->runs, memory_order_relaxed) >= RUNS_BEFORE_COPY ||
        atomic_fetch_add(&weights->runs, 1) != RUNS_BEFORE_COPY - 1)
        return;
    if (ow_start_thread(&weights->copier, copy_weights, weights) == 0)
        weights->is_copied = 1;
}

void ow_wait_for_copy(struct ow_weights *weights)
{
    if (weights->is_copied) {
        pthread_join(weights->copier, NULL);
        weights->is_copied = 0;
    }
}

void ow_forget_helpers(struct ow_weights *weights)
{
    /* What it had not finished stays as it was: nobody waits for it, runs use the mapped ones. */
    weights->is_copied = 0;
    weights->is_read = 0;
}

void ow_close_weights(struct ow_weights *weights)
{
    atomic_store(&weights->is_read_enough, 1);
    if (weights->is_read)
        pthread_join(weights->reader, NULL);
    ow_wait_for_copy(weights);
    if (weights->mapping != NULL)
        munmap(weights->mapping, (size_t)weights->mapping_bytes);
    ow_release(&weights->copy);
    free((void *)weights->addresses);
}
