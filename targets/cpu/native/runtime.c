/* Runs: from inputs that a caller brings to outputs, by the generated code. */
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "instance.h"

static const struct ow_description *const about = &ow_description;

/* Checks the inputs' shapes, and sets the frame's symbols and sizes. */
static int32_t prepare(struct ow_frame *frame, const struct ow_value *inputs,
                       struct ow_message *message)
{
    int32_t status = ow_check_inputs(inputs, frame->given, message);
    int64_t failed;

    if (status != OW_OK)
        return status;
    failed = ow_prepare(frame->given, frame->symbols, frame->sizes);
    if (failed == 0)
        return OW_OK;
    ow_say_unfit(message, failed, inputs);
    return OW_INVALID;
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
    int32_t status;

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
    status = ow_check_room(output, name, bytes, message);
    if (status == OW_OK)
        output->bytes = bytes;
    return status;
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

static int32_t open_outputs(struct ow_frame *frame, struct ow_value *outputs, int *is_new,
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
static int32_t close_late(struct ow_frame *frame, struct ow_value *outputs, int *is_new,
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

static int32_t explain(const struct ow_frame *frame, struct ow_message *message)
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

static int32_t make_arena(struct ow_model *model, struct ow_frame *frame, struct ow_message *message)
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

static int32_t run_frame(struct ow_model *model, struct ow_frame *frame,
                         const struct ow_value *inputs, struct ow_value *outputs, int *is_new,
                         struct ow_message *message)
{
    int32_t number, status = prepare(frame, inputs, message), failed, is_late = 0;
    int64_t *pool;

    if (status == OW_OK)
        status = ow_check_data(inputs, message);
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
    frame->context[OW_PARAMETERS] = (int64_t)(intptr_t)model->weights.addresses;
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
    struct ow_frame *frame;
    int *is_new = calloc((size_t)about->output_count + 1, sizeof *is_new);
    int32_t status = OW_LIMIT;

    ow_enter(model);
    frame = ow_take_frame(model);
    if (frame == NULL || is_new == NULL)
        ow_say(message, "there is no memory for a run of %s", about->name);
    else
        status = run_frame(model, frame, inputs, outputs, is_new, message);
    free(is_new);
    if (frame != NULL)
        ow_give_back_frame(model, frame);
    return status;
}

int32_t ow_describe_outputs(struct ow_model *model, const struct ow_value *inputs,
                            struct ow_value *outputs, struct ow_message *message)
{
    struct ow_frame *frame;
    const int64_t *extents;
    uint64_t bytes;
    int32_t number, status;

    ow_enter(model);
    frame = ow_take_frame(model);
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
    ow_give_back_frame(model, frame);
    return status;
}
