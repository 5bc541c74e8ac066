/* Instances: making them, what they keep between runs, and forks. */
#define _GNU_SOURCE
#include "instance.h"

#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "processor.h"

enum { MOST_THREADS = 4096 };
enum { IN_REPAIR = -1 };        /* stands for a process while its instance is made whole */

static const struct ow_description *const about = &ow_description;

static int64_t ranks(const struct ow_tensor *tensors, int32_t count)
{
    int64_t total = 0;

    while (count > 0)
        total += tensors[--count].rank;
    return total;
}

/* Whether the options are possible, and the processor is one that the code is for. */
static int32_t check(const struct ow_options *options, struct ow_message *message)
{
    const char *missing = ow_missing_feature(about->features, about->feature_count);

    if (missing != NULL) {
        ow_say(message, "%s is compiled for %s: this program needs %s, which this processor, or "
               "its system, lacks; compile the model for it (--cpu)", about->name, about->target,
               missing);
        return OW_DEVICE;
    }
    if (options->threads < 0 || options->threads > MOST_THREADS) {
        ow_say(message, "%d threads are not possible: 1 to %d are, 0 means all processors",
               (int)options->threads, MOST_THREADS);
        return OW_INVALID;
    }
    return OW_OK;
}

struct ow_model *ow_create(const struct ow_options *options, int32_t *status,
                           struct ow_message *message)
{
    struct ow_model *model;
    int32_t threads = options->threads;

    *status = check(options, message);
    if (*status != OW_OK)
        return NULL;
    model = calloc(1, sizeof *model);
    if (model == NULL || pthread_mutex_init(&model->lock, NULL) != 0) {
        free(model);
        ow_say(message, "there is no memory for an instance of %s", about->name);
        *status = OW_LIMIT;
        return NULL;
    }
    *status = ow_open_weights(&model->weights, options->weights_file,
                              options->weights_in_place != 0, message);
    if (*status != OW_OK) {
        pthread_mutex_destroy(&model->lock);
        free(model);
        return NULL;
    }
    model->memory_limit = ow_physical_memory();
    atomic_init(&model->process, (long)getpid());
    if (!about->is_shared)
        threads = 1; /* too short for several */
    else if (threads == 0)
        threads = ow_available_threads();
    ow_open_pool(&model->pool, threads);
    return model;
}

static void free_frame(struct ow_frame *frame)
{
    ow_release(&frame->arena);
    free(frame->context);
    free(frame);
}

void ow_destroy(struct ow_model *model)
{
    struct ow_frame *frame;

    if (model == NULL)
        return;
    ow_enter(model);
    ow_close_pool(&model->pool);
    while ((frame = model->idle) != NULL) {
        model->idle = frame->next;
        free_frame(frame);
    }
    ow_close_weights(&model->weights);
    pthread_mutex_destroy(&model->lock);
    free(model);
}

int32_t ow_thread_count(const struct ow_model *model)
{
    return model->pool.threads;
}

void ow_settle(struct ow_model *model)
{
    ow_wait_for_copy(&model->weights);
}

/* Threads stay with the parent of a fork. One of them may have held the lock; what it guards is
 * then in an unknown state, and that memory is given up. */
static void repair(struct ow_model *model)
{
    if (pthread_mutex_trylock(&model->lock) == 0) {
        pthread_mutex_unlock(&model->lock);
    } else {
        (void)pthread_mutex_init(&model->lock, NULL);
        model->idle = NULL;
    }
    ow_forget_workers(&model->pool);
    ow_forget_helpers(&model->weights);
}

void ow_enter(struct ow_model *model)
{
    long here = (long)getpid(), owner = atomic_load(&model->process);

    while (owner != here) {
        if (owner == IN_REPAIR) {
            (void)sched_yield();
            owner = atomic_load(&model->process);
        } else if (atomic_compare_exchange_weak(&model->process, &owner, IN_REPAIR)) {
            repair(model);
            atomic_store(&model->process, here);
            return;
        }
    }
}

/* --- frames ----------------------------------------------------------------------------------- */

static struct ow_frame *new_frame(const struct ow_model *model)
{
    size_t tensors = (size_t)about->input_count + (size_t)about->output_count, number;
    size_t given = (size_t)ranks(about->inputs, about->input_count);
    size_t sizes = (size_t)ranks(about->outputs, about->output_count) + 1;
    struct ow_frame *frame = calloc(1, sizeof *frame);

    if (frame == NULL)
        return NULL;
    frame->context = calloc(OW_CONTEXT_FIELDS + 2 * tensors + (size_t)about->symbol_count + given +
                            sizes, sizeof *frame->context);
    if (frame->context == NULL) {
        free(frame);
        return NULL;
    }
    frame->cells = frame->context + OW_CONTEXT_FIELDS + tensors;
    frame->symbols = frame->cells + tensors;
    frame->given = frame->symbols + about->symbol_count;
    frame->sizes = frame->given + given;
    frame->context[OW_SYMBOLS] = (int64_t)(intptr_t)frame->symbols;
    frame->context[OW_FAILURE] = (int64_t)(intptr_t)frame->failure;
    frame->context[OW_MEMORY_LIMIT] = (int64_t)model->memory_limit;
    for (number = 0; number < tensors; number++)
        frame->context[OW_CONTEXT_FIELDS + number] = (int64_t)(intptr_t)&frame->cells[number];
    return frame;
}

struct ow_frame *ow_take_frame(struct ow_model *model)
{
    struct ow_frame *frame;

    pthread_mutex_lock(&model->lock);
    frame = model->idle;
    if (frame != NULL)
        model->idle = frame->next;
    pthread_mutex_unlock(&model->lock);
    return frame != NULL ? frame : new_frame(model);
}

void ow_give_back_frame(struct ow_model *model, struct ow_frame *frame)
{
    pthread_mutex_lock(&model->lock);
    frame->next = model->idle;
    model->idle = frame;
    pthread_mutex_unlock(&model->lock);
}
