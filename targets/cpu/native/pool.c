#define _GNU_SOURCE
#include "pool.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "description.h"

/* Generated code needs more than the 128 KiB that some C libraries give. */
enum { STACK_BYTES = 8 << 20, FIELDS_ALIGNMENT = 64 };

static void *work(void *fields)
{
    ow_worker(fields);
    return NULL;
}

int ow_start_thread(pthread_t *thread, void *(*function)(void *), void *argument)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    int failed;

    if (pthread_attr_init(&attributes) != 0)
        return -1;
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    /* Signals are for the threads of the program that uses the model. */
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(thread, &attributes, function, argument);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return failed ? -1 : 0;
}

void ow_open_pool(struct ow_pool *pool, int32_t threads)
{
    memset(pool, 0, sizeof *pool);
    pool->threads = threads;
    atomic_flag_clear(&pool->is_taken);
}

static void discard(struct ow_pool *pool)
{
    free(pool->fields);
    free(pool->workers);
    pool->fields = NULL;
    pool->workers = NULL;
    pool->worker_count = 0;
}

/* Start the workers; with fewer than wanted a run is slower, not wrong. */
static void start(struct ow_pool *pool)
{
    size_t count = OW_POOL_FIELDS + (size_t)pool->threads * OW_POOL_FIELDS_OF_A_THREAD;
    void *fields = NULL;

    if (posix_memalign(&fields, FIELDS_ALIGNMENT, count * sizeof(int64_t)) != 0)
        return;
    memset(fields, 0, count * sizeof(int64_t));
    pool->fields = fields;
    pool->fields[OW_POOL_THREADS] = pool->threads;
    pool->workers = malloc((size_t)pool->threads * sizeof *pool->workers);
    if (pool->workers == NULL) {
        discard(pool);
        return;
    }
    while (pool->worker_count < pool->threads - 1 &&
           ow_start_thread(&pool->workers[pool->worker_count], work, fields) == 0)
        pool->worker_count++;
}

int64_t *ow_take_pool(struct ow_pool *pool)
{
    if (pool->threads < 2 || atomic_flag_test_and_set(&pool->is_taken))
        return NULL;
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

void ow_forget_workers(struct ow_pool *pool)
{
    discard(pool);
    atomic_flag_clear(&pool->is_taken);
}

void ow_close_pool(struct ow_pool *pool)
{
    int32_t number;

    if (pool->fields != NULL) {
        ow_stop(pool->fields);
        for (number = 0; number < pool->worker_count; number++)
            pthread_join(pool->workers[number], NULL);
    }
    discard(pool);
}
