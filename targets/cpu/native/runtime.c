/* Instances and runs. A run takes a frame (what the generated code is given, and memory for
 * intermediate tensors) from a list, so that threads may run one instance at the same time. */
#define _GNU_SOURCE
#include "runtime.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "pool.h"
#include "processor.h"
#include "weights.h"

struct frame {
    struct frame *next;
    int64_t *context;           /* OW_CONTEXT_FIELDS, then a pointer for each input and output */
    int64_t *cells;             /* addresses of the first elements of inputs and outputs */
    int64_t *symbols;
    int64_t failure[2];
    int64_t *given;             /* extents of all inputs */
    int64_t *sizes;             /* bytes of the arena, extents of all outputs */
    struct ow_block arena;
};

struct ow_model {
    pthread_mutex_t lock;       /* of the list */
    struct frame *idle;
    struct ow_weights weights;
    struct ow_pool pool;
    uint64_t memory_limit;
};

static const struct ow_description *const about = &ow_description;

static int64_t ranks(const struct ow_tensor *tensors, int32_t count)
{
    int64_t total = 0;

    while (count > 0)
        total += tensors[--count].rank;
    return total;
}

/* --- instances -------------------------------------------------------------------------------- */

struct ow_model *ow_create(const struct ow_options *options, int32_t *status,
                           struct ow_message *message)
{
    struct ow_model *model;
    const char *missing = ow_missing_feature(about->features, about->feature_count);
    int32_t threads = options->threads;

    if (missing != NULL) {
        ow_say(message, "%s is compiled for %s: this processor, or its system, lacks %s; compile "
               "it for this one (--cpu)", about->name, about->target, missing);
        *status = OW_DEVICE;
        return NULL;
    }
    if (threads < 0) {
        ow_say(message, "%d threads are not possible; 0 means all processors", (int)threads);
        *status = OW_INVALID;
        return NULL;
    }
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
    if (!about->is_shared)
        threads = 1; /* too short for several */
    else if (threads == 0)
        threads = ow_available_threads();
    ow_open_pool(&model->pool, threads);
    return model;
}

static void free_frame(struct frame *frame)
{
    if (frame == NULL)
        return;
    ow_release(&frame->arena);
    free(frame->context);
    free(frame);
}

void ow_destroy(struct ow_model *model)
{
    struct frame *frame;

    if (model == NULL)
        return;
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

/* --- frames ----------------------------------------------------------------------------------- */

static struct frame *take_frame(struct ow_model *model)
{
    size_t tensors = (size_t)about->input_count + (size_t)about->output_count, number;
    size_t given = (size_t)ranks(about->inputs, about->input_count);
    size_t sizes = (size_t)ranks(about->outputs, about->output_count) + 1;
    struct frame *frame;

    pthread_mutex_lock(&model->lock);
    frame = model->idle;
    if (frame != NULL)
        model->idle = frame->next;
    pthread_mutex_unlock(&model->lock);
    if (frame != NULL)
        return frame;
    frame = calloc(1, sizeof *frame);
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

static void give_back_frame(struct ow_model *model, struct frame *frame)
{
    pthread_mutex_lock(&model->lock);
    frame->next = model->idle;
    model->idle = frame;
    pthread_mutex_unlock(&model->lock);
}

/* --- checks ----------------------------------------------------------------------------------- */

static int32_t check_input(int32_t number, const struct ow_value *value, struct ow_message *message)
{
    const struct ow_tensor *wanted = &about->inputs[number];
    char expected[256], found[256];
    int32_t axis, is_wrong = value->type != wanted->type || value->rank != wanted->rank;

    for (axis = 0; axis < wanted->rank && !is_wrong; axis++)
        is_wrong = value->extents[axis] < 0 ||
                   (wanted->extents[axis] >= 0 && value->extents[axis] != wanted->extents[axis]);
    if (!is_wrong)
        return OW_OK;
    ow_show_shape(expected, sizeof expected, wanted->type, wanted->rank, wanted->extents,
                  wanted->extent_texts);
    if (value->rank < 0 || value->rank > OW_LARGEST_RANK)
        (void)strcpy(found, "a tensor of another rank");
    else
        ow_show_shape(found, sizeof found, value->type, value->rank, value->extents, NULL);
    ow_say(message, "input '%s' is %s; %s takes %s", wanted->name, found, about->name, expected);
    return OW_INVALID;
}

/* Checks the inputs' shapes, and sets the frame's symbols and sizes. */
static int32_t prepare(struct frame *frame, const struct ow_value *inputs,
                       struct ow_message *message)
{
    int64_t *given = frame->given, failed;
    int32_t number, axis, status;

    for (number = 0; number < about->input_count; number++) {
        status = check_input(number, &inputs[number], message);
        if (status != OW_OK)
            return status;
        for (axis = 0; axis < inputs[number].rank; axis++)
            *given++ = inputs[number].extents[axis];
    }
    failed = ow_prepare(frame->given, frame->symbols, frame->sizes);
    if (failed == 0)
        return OW_OK;
    ow_say(message, "these inputs do not fit %s: %s", about->name, about->checks[failed - 1]);
    return OW_INVALID;
}

static int32_t check_data(const struct ow_value *inputs, struct ow_message *message)
{
    const struct ow_tensor *wanted = about->inputs;
    uint64_t bytes, element;
    int32_t number;

    for (number = 0; number < about->input_count; number++) {
        element = ow_element_bytes(wanted[number].type);
        if (!ow_count_bytes(inputs[number].type, inputs[number].rank, inputs[number].extents,
                            &bytes)) {
            ow_say(message, "input '%s' is too large", wanted[number].name);
            return OW_LIMIT;
        }
        if (bytes > 0 && (inputs[number].data == NULL ||
                          (uintptr_t)inputs[number].data % element != 0)) {
            ow_say(message, "input '%s' has %s", wanted[number].name, inputs[number].data == NULL
                   ? "no data" : "data that is not aligned to its elements");
            return OW_INVALID;
        }
    }
    return OW_OK;
}

/* --- outputs ---------------------------------------------------------------------------------- */

static void set_shape(struct ow_value *output, const struct ow_tensor *wanted,
                      const int64_t *extents)
{
    int32_t axis;

    output->type = wanted->type;
    output->rank = wanted->rank;
    for (axis = 0; axis < wanted->rank; axis++)
        output->extents[axis] = extents[axis];
}

/* Memory for bytes of an output: the caller's, or new. *is_new tells. */
static int32_t make_room(struct ow_value *output, const char *name, uint64_t bytes, int *is_new,
                         struct ow_message *message)
{
    *is_new = output->data == NULL;
    if (*is_new) {
        /* A multiple of the alignment, and something even for nothing. */
        output->data = bytes > (uint64_t)PTRDIFF_MAX / 2
                           ? NULL : aligned_alloc(64, ((size_t)bytes + 64) & ~(size_t)63);
        output->bytes = bytes;
        if (output->data != NULL)
            return OW_OK;
        ow_say(message, "there is no memory for output '%s': %llu bytes", name,
               (unsigned long long)bytes);
        return OW_LIMIT;
    }
    if (output->bytes < bytes) {
        ow_say(message, "output '%s' takes %llu bytes; there is room for %llu", name,
               (unsigned long long)bytes, (unsigned long long)output->bytes);
        return OW_INVALID;
    }
    output->bytes = bytes;
    return OW_OK;
}

/* Frees the first count outputs that were allocated here. */
static void take_back(struct ow_value *outputs, const int *is_new, int32_t count)
{
    while (count > 0)
        if (is_new[--count]) {
            free(outputs[count].data);
            outputs[count].data = NULL;
        }
}

static int32_t open_outputs(struct frame *frame, struct ow_value *outputs, int *is_new,
                            struct ow_message *message)
{
    const int64_t *extents = frame->sizes + 1;
    const struct ow_tensor *wanted;
    uint64_t bytes = 0;
    int32_t number, status = OW_OK;

    for (number = 0; number < about->output_count; number++) {
        wanted = &about->outputs[number];
        is_new[number] = 0;
        frame->cells[about->input_count + number] = 0;
        if (!wanted->is_late) {
            set_shape(&outputs[number], wanted, extents);
            if (!ow_count_bytes(wanted->type, wanted->rank, extents, &bytes)) {
                ow_say(message, "output '%s' would be too large", wanted->name);
                status = OW_LIMIT;
            } else {
                status = make_room(&outputs[number], wanted->name, bytes, &is_new[number], message);
            }
            if (status != OW_OK) {
                take_back(outputs, is_new, number);
                return status;
            }
            frame->cells[about->input_count + number] = (int64_t)(intptr_t)outputs[number].data;
        }
        extents += wanted->rank;
    }
    return OW_OK;
}

/* Copies outputs that the run allocated, of which two may be one, and frees them. */
static int32_t close_late(struct frame *frame, struct ow_value *outputs, int *is_new,
                          struct ow_message *message)
{
    int64_t *cells = frame->cells + about->input_count, *extents = frame->sizes + 1;
    uint64_t bytes = 0;
    int32_t number, other, status = OW_OK;

    ow_output_extents(frame->symbols, extents);
    for (number = 0; number < about->output_count; number++) {
        const struct ow_tensor *wanted = &about->outputs[number];
        if (wanted->is_late && status == OW_OK) {
            set_shape(&outputs[number], wanted, extents);
            if (!ow_count_bytes(wanted->type, wanted->rank, extents, &bytes))
                status = OW_BUG; /* the run checked it */
            else
                status = make_room(&outputs[number], wanted->name, bytes, &is_new[number], message);
            if (status == OW_OK && bytes > 0)
                memcpy(outputs[number].data, (const void *)(intptr_t)cells[number], (size_t)bytes);
        }
        extents += wanted->rank;
    }
    for (number = 0; number < about->output_count; number++) {
        if (!about->outputs[number].is_late || cells[number] == 0)
            continue;
        for (other = number + 1; other < about->output_count; other++)
            if (about->outputs[other].is_late && cells[other] == cells[number])
                cells[other] = 0;
        free((void *)(intptr_t)cells[number]);
        cells[number] = 0;
    }
    if (status != OW_OK)
        take_back(outputs, is_new, about->output_count);
    return status;
}

/* --- runs ------------------------------------------------------------------------------------- */

static int32_t explain(const struct frame *frame, struct ow_message *message)
{
    const struct ow_step *step = &about->steps[frame->failure[0]];
    int64_t code = frame->failure[1];

    if (code == OW_OUT_OF_MEMORY) {
        ow_say(message, "%s: no memory for a tensor whose size came up in the run", step->node);
        return OW_LIMIT;
    }
    if (code == OW_BAD_EXTENT)
        ow_say(message, "%s is negative or too large in this run", step->node);
    else if (code == OW_UNEQUAL_EXTENTS)
        ow_say(message, "%s differ in this run", step->node);
    else if (code == OW_RAISED || step->error[0] == '\0') {
        ow_say(message, "%s: the kernel failed with status %lld", step->node, (long long)code);
        return OW_BUG;
    } else
        ow_say(message, "%s: %s (status %lld)", step->node, step->error, (long long)code);
    return OW_INVALID;
}

static int32_t make_arena(struct ow_model *model, struct frame *frame, struct ow_message *message)
{
    uint64_t needed = (uint64_t)frame->sizes[0];

    if (frame->arena.bytes != NULL && frame->arena.size >= needed)
        return OW_OK;
    ow_release(&frame->arena);
    if (needed > model->memory_limit || ow_allocate(&frame->arena, needed) != 0) {
        ow_say(message, "a run needs %llu bytes for intermediate tensors; this machine has %llu",
               (unsigned long long)needed, (unsigned long long)model->memory_limit);
        return OW_LIMIT;
    }
    frame->context[OW_ARENA] = (int64_t)(intptr_t)frame->arena.bytes;
    return OW_OK;
}

static int32_t run_frame(struct ow_model *model, struct frame *frame,
                         const struct ow_value *inputs, struct ow_value *outputs, int *is_new,
                         struct ow_message *message)
{
    int32_t number, status = prepare(frame, inputs, message), failed, is_late = 0;
    int64_t *pool;

    if (status == OW_OK)
        status = check_data(inputs, message);
    if (status == OW_OK)
        status = make_arena(model, frame, message);
    if (status == OW_OK)
        status = open_outputs(frame, outputs, is_new, message);
    if (status != OW_OK)
        return status;
    for (number = 0; number < about->input_count; number++)
        frame->cells[number] = (int64_t)(intptr_t)inputs[number].data;
    for (number = 0; number < about->output_count; number++)
        is_late |= about->outputs[number].is_late;
    frame->context[OW_PARAMETERS] = (int64_t)(intptr_t)atomic_load(&model->weights.addresses);
    pool = ow_take_pool(&model->pool);
    frame->context[OW_POOL] = (int64_t)(intptr_t)pool;
    failed = ow_run(frame->context);
    if (pool != NULL)
        ow_give_back_pool(&model->pool);
    if (failed) {
        take_back(outputs, is_new, about->output_count);
        return explain(frame, message);
    }
    ow_note_run(&model->weights);
    return is_late ? close_late(frame, outputs, is_new, message) : OW_OK;
}

int32_t ow_infer(struct ow_model *model, const struct ow_value *inputs, struct ow_value *outputs,
                 struct ow_message *message)
{
    struct frame *frame = take_frame(model);
    int *is_new = calloc((size_t)about->output_count + 1, sizeof *is_new);
    int32_t status = OW_LIMIT;

    if (frame == NULL || is_new == NULL)
        ow_say(message, "there is no memory for a run of %s", about->name);
    else
        status = run_frame(model, frame, inputs, outputs, is_new, message);
    free(is_new);
    if (frame != NULL)
        give_back_frame(model, frame);
    return status;
}

int32_t ow_describe_outputs(struct ow_model *model, const struct ow_value *inputs,
                            struct ow_value *outputs, struct ow_message *message)
{
    struct frame *frame = take_frame(model);
    const int64_t *extents;
    uint64_t bytes;
    int32_t number, status;

    if (frame == NULL) {
        ow_say(message, "there is no memory for a run of %s", about->name);
        return OW_LIMIT;
    }
    status = prepare(frame, inputs, message);
    extents = frame->sizes + 1;
    for (number = 0; number < about->output_count && status == OW_OK; number++) {
        const struct ow_tensor *wanted = &about->outputs[number];
        set_shape(&outputs[number], wanted, extents);
        outputs[number].data = NULL;
        outputs[number].bytes = 0;
        if (!wanted->is_late && ow_count_bytes(wanted->type, wanted->rank, extents, &bytes))
            outputs[number].bytes = bytes;
        extents += wanted->rank;
    }
    give_back_frame(model, frame);
    return status;
}
