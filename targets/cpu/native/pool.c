#define _GNU_SOURCE
#include "pool.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "description.h"

/* Generated code needs more than the 128 KiB that some C libraries give. */
enum { STACK_BYTES = 8 << 20, FIELDS_ALIGNMENT = 64 };

static void *work(void *fields)
{
    ow_worker(fields);
    return NULL;
}

void ow_open_pool(struct ow_pool *pool, int32_t threads)
{
    memset(pool, 0, sizeof *pool);
    pool->threads = threads;
    atomic_flag_clear(&pool->is_taken);
}

/* Start the workers; with fewer than wanted a run is slower, not wrong. */
static void start(struct ow_pool *pool)
{
    pthread_attr_t attributes;
    void *fields = NULL;

    if (posix_memalign(&fields, FIELDS_ALIGNMENT, OW_POOL_FIELDS * sizeof(int64_t)) != 0)
        return;
    memset(fields, 0, OW_POOL_FIELDS * sizeof(int64_t));
    pool->workers = malloc((size_t)pool->threads * sizeof *pool->workers);
    if (pool->workers == NULL || pthread_attr_init(&attributes) != 0) {
        free(fields);
        free(pool->workers);
        pool->workers = NULL;
        return;
    }
    pool->fields = fields;
    pool->fields[OW_POOL_THREADS] = pool->threads;
    pool->process = getpid();
    pool->worker_count = 0;
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    while (pool->worker_count < pool->threads - 1 &&
           pthread_create(&pool->workers[pool->worker_count], &attributes, work, fields) == 0)
        pool->worker_count++;
    pthread_attr_destroy(&attributes);
}

int64_t *ow_take_pool(struct ow_pool *pool)
{
    if (pool->threads < 2 || atomic_flag_test_and_set(&pool->is_taken))
        return NULL;
    if (pool->fields != NULL && pool->process != getpid()) {
        /* The workers stayed with the parent, whose memory this is a copy of. */
        free(pool->fields);
        free(pool->workers);
        pool->fields = NULL;
        pool->workers = NULL;
    }
    if (pool->fields == NULL)
        start(pool);
    if (pool->fields == NULL)
        atomic_flag_clear(&pool->is_taken);
    return pool->fields;
}

void ow_give_back_pool(struct ow_pool *pool)
{
    atomic_flag_clear(&pool->is_taken);
}

void ow_close_pool(struct ow_pool *pool)
{
    int32_t number;

    if (pool->fields != NULL && pool->process == getpid()) {
        ow_stop(pool->fields);
        for (number = 0; number < pool->worker_count; number++)
            pthread_join(pool->workers[number], NULL);
    }
    free(pool->fields);
    free(pool->workers);
    pool->fields = NULL;
    pool->workers = NULL;
}
