#define _GNU_SOURCE
#include "inputs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive.h"
#include "numpy_file.h"

struct content {
    const char *name;           /* for messages */
    unsigned char *bytes;
    uint64_t size, taken;
};

static const struct ow_description *const about = &ow_description;

void ow_free_values(struct ow_value *values, int32_t count)
{
    while (count > 0) {
        free(values[--count].data);
        values[count].data = NULL;
    }
}

/* --- files ------------------------------------------------------------------------------------ */

static int32_t read_all(int file, struct content *content, uint64_t room,
                        struct ow_message *message)
{
    unsigned char *larger;
    ssize_t count;

    for (;;) {
        if (content->size == room || content->bytes == NULL) {
            room = content->bytes == NULL ? room + 1 : room * 2;
            larger = room > (uint64_t)PTRDIFF_MAX ? NULL : realloc(content->bytes, (size_t)room);
            if (larger == NULL) {
                ow_say(message, "there is no memory for %s", content->name);
                return OW_LIMIT;
            }
            content->bytes = larger;
        }
        count = read(file, content->bytes + content->size, (size_t)(room - content->size));
        if (count == 0)
            return OW_OK;
        if (count < 0 && errno != EINTR) {
            ow_say(message, "%s cannot be read: %s", content->name, strerror(errno));
            return OW_FILES;
        }
        if (count > 0)
            content->size += (uint64_t)count;
    }
}

static int32_t read_file(const char *path, struct content *content, struct ow_message *message)
{
    int is_stdin = strcmp(path, "-") == 0, file = STDIN_FILENO;
    struct stat status;
    uint64_t room = 1 << 16;
    int32_t found;

    memset(content, 0, sizeof *content);
    content->name = is_stdin ? "standard input" : path;
    if (is_stdin && isatty(STDIN_FILENO)) {
        ow_say(message, "inputs are read from standard input, which is a terminal; see --help");
        return OW_USAGE;
    }
    if (!is_stdin)
        file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &status) != 0) {
        ow_say(message, "%s cannot be read: %s", content->name, strerror(errno));
        return OW_FILES;
    }
    if (S_ISREG(status.st_mode) && status.st_size > 0)
        room = (uint64_t)status.st_size;
    found = read_all(file, content, room, message);
    if (!is_stdin)
        close(file);
    if (found != OW_OK)
        free(content->bytes);
    return found;
}

/* --- formats ---------------------------------------------------------------------------------- */

static int32_t take_npy(struct content *content, int32_t number, struct ow_value *input,
                        struct ow_message *message)
{
    uint64_t used = 0;
    int32_t status = ow_read_npy(content->bytes + content->taken, content->size - content->taken,
                                 about->inputs[number].type, content->name, input, &used, message);

    content->taken += used;
    return status;
}

/* The number of the input that an entry of an archive is: by name, else arr_0, arr_1, ... */
static int32_t input_of(const char *name)
{
    int32_t number;
    char *end;
    long position;

    for (number = 0; number < about->input_count; number++)
        if (strcmp(name, about->inputs[number].name) == 0)
            return number;
    if (strncmp(name, "arr_", 4) != 0 || name[4] < '0' || name[4] > '9')
        return -1;
    position = strtol(name + 4, &end, 10);
    return *end == '\0' && position < about->input_count ? (int32_t)position : -1;
}

static int32_t read_archive(const struct content *content, struct ow_value *inputs,
                            struct ow_message *message)
{
    struct ow_archive archive;
    struct ow_entry entry;
    struct content inner;
    int32_t number, status = OW_OK;
    int found = 0;

    if (!ow_open_archive(&archive, content->bytes, content->size)) {
        ow_say(message, "%s is a damaged .npz file", content->name);
        return OW_INVALID;
    }
    while (status == OW_OK && (found = ow_next_entry(&archive, &entry)) == 1) {
        number = input_of(entry.name);
        if (number < 0 || inputs[number].data != NULL) {
            ow_say(message, "%s has '%s', which is no input of %s, or twice; see --info",
                   content->name, entry.name, about->name);
            return OW_INVALID;
        }
        memset(&inner, 0, sizeof inner);
        inner.name = entry.name;
        inner.bytes = ow_extract(&archive, &entry);
        inner.size = entry.size;
        if (inner.bytes == NULL) {
            ow_say(message, "'%s' in %s is damaged, or there is no memory for it", entry.name,
                   content->name);
            return OW_INVALID;
        }
        status = take_npy(&inner, number, &inputs[number], message);
        free(inner.bytes);
    }
    if (status == OW_OK && found < 0) {
        ow_say(message, "%s is a damaged .npz file", content->name);
        return OW_INVALID;
    }
    for (number = 0; number < about->input_count && status == OW_OK; number++)
        if (inputs[number].data == NULL) {
            ow_say(message, "%s has no input '%s'", content->name, about->inputs[number].name);
            status = OW_INVALID;
        }
    return status;
}

static int32_t take_raw(const struct ow_arguments *arguments, struct content *content,
                        int32_t number, struct ow_value *input, struct ow_message *message)
{
    const struct ow_tensor *wanted = &about->inputs[number];
    uint64_t left = content->size - content->taken, bytes = 0;
    int32_t axis, open = -1, status;

    status = ow_given_shape(arguments, wanted, input->extents, message);
    if (status != OW_OK)
        return status;
    input->type = wanted->type;
    input->rank = wanted->rank;
    for (axis = 0; axis < wanted->rank; axis++)
        if (input->extents[axis] < 0) {
            if (open >= 0 || number != about->input_count - 1) {
                ow_say(message, "raw data does not tell its shape: give --shape %s=...",
                       wanted->name);
                return OW_USAGE;
            }
            open = axis;
            input->extents[axis] = 1;
        }
    if (!ow_count_bytes(input->type, input->rank, input->extents, &bytes)) {
        ow_say(message, "input '%s' would be too large", wanted->name);
        return OW_LIMIT;
    }
    if (open >= 0 && bytes > 0 && left % bytes == 0) { /* the last open extent follows */
        input->extents[open] = (int64_t)(left / bytes);
        bytes = left;
    }
    if (bytes > left) {
        ow_say(message, "%s is too short: input '%s' takes %llu bytes, and there are %llu",
               content->name, wanted->name, (unsigned long long)bytes, (unsigned long long)left);
        return OW_INVALID;
    }
    input->data = ow_new_data(bytes);
    input->bytes = bytes;
    if (input->data == NULL) {
        ow_say(message, "there is no memory for input '%s'", wanted->name);
        return OW_LIMIT;
    }
    if (bytes > 0)
        memcpy(input->data, content->bytes + content->taken, (size_t)bytes);
    content->taken += bytes;
    return OW_OK;
}

static int32_t take_input(const struct ow_arguments *arguments, struct content *content,
                          int32_t number, struct ow_value *input, struct ow_message *message)
{
    if (arguments->is_raw)
        return take_raw(arguments, content, number, input, message);
    if (content->taken == content->size) {
        ow_say(message, "%s ends before input '%s'", content->name, about->inputs[number].name);
        return OW_INVALID;
    }
    if (ow_is_npy(content->bytes + content->taken, content->size - content->taken))
        return take_npy(content, number, input, message);
    ow_say(message, "%s is neither a .npy nor a .npz file; raw data needs --raw", content->name);
    return OW_INVALID;
}

/* --- all inputs ------------------------------------------------------------------------------- */

int32_t ow_read_inputs(const struct ow_arguments *arguments, struct ow_value *inputs,
                       struct ow_message *message)
{
    int files = arguments->file_count > 0 ? arguments->file_count : 1, file;
    struct content content;
    int32_t number = 0, last, status = OW_OK;

    if (about->input_count == 0)
        files = arguments->file_count; /* standard input is not looked at */
    if (files != 1 && files != about->input_count) {
        ow_say(message, "%s takes %d inputs; %d files are given; see --info", about->name,
               (int)about->input_count, files);
        return OW_USAGE;
    }
    for (file = 0; file < files && status == OW_OK; file++) {
        status = read_file(arguments->file_count > 0 ? arguments->files[file] : "-", &content,
                           message);
        if (status != OW_OK)
            break;
        last = files == 1 ? about->input_count : number + 1;
        if (!arguments->is_raw && files == 1 && ow_is_archive(content.bytes, content.size)) {
            status = read_archive(&content, inputs, message);
            content.taken = content.size;
        } else {
            while (number < last && status == OW_OK) {
                status = take_input(arguments, &content, number, &inputs[number], message);
                number++;
            }
        }
        if (status == OW_OK && content.taken != content.size) {
            ow_say(message, "%s has %llu bytes more than the model takes", content.name,
                   (unsigned long long)(content.size - content.taken));
            status = OW_INVALID;
        }
        free(content.bytes);
    }
    if (status != OW_OK)
        ow_free_values(inputs, about->input_count);
    return status;
}

static uint64_t next_random(uint64_t *state)
{
    /* Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014. */
    uint64_t mixed = *state += 0x9e3779b97f4a7c15u;

    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
    return mixed ^ mixed >> 31;
}

static void fill(struct ow_value *input, uint64_t *state)
{
    uint64_t element = ow_element_bytes(input->type), count = input->bytes / element, place;
    unsigned char *bytes = input->data;
    uint16_t half;
    float single;
    double wide;

    for (place = 0; place < count; place++, bytes += element) {
        wide = (double)(next_random(state) >> 11) * 0x1p-53;
        single = (float)wide;
        memset(bytes, 0, (size_t)element);
        if (input->type == OW_FLOAT64)
            memcpy(bytes, &wide, sizeof wide);
        else if (input->type == OW_FLOAT32)
            memcpy(bytes, &single, sizeof single);
        else if (input->type == OW_FLOAT16 || input->type == OW_BFLOAT16) {
            /* 1/2 and 1/4 are enough to compute with. */
            half = input->type == OW_FLOAT16 ? (wide < 0.5 ? 0x3400 : 0x3800)
                                             : (wide < 0.5 ? 0x3e80 : 0x3f00);
            memcpy(bytes, &half, sizeof half);
        } else
            *bytes = wide < 0.5 ? 0 : 1; /* the lowest byte of an integer comes first */
    }
}

int32_t ow_make_inputs(const struct ow_arguments *arguments, struct ow_value *inputs,
                       struct ow_message *message)
{
    int32_t number, axis, status = OW_OK;
    uint64_t state = 0;

    for (number = 0; number < about->input_count && status == OW_OK; number++) {
        const struct ow_tensor *wanted = &about->inputs[number];
        status = ow_given_shape(arguments, wanted, inputs[number].extents, message);
        if (status != OW_OK)
            break;
        inputs[number].type = wanted->type;
        inputs[number].rank = wanted->rank;
        for (axis = 0; axis < wanted->rank; axis++)
            if (inputs[number].extents[axis] < 0)
                inputs[number].extents[axis] = 1;
        if (!ow_count_bytes(wanted->type, wanted->rank, inputs[number].extents,
                            &inputs[number].bytes) ||
            (inputs[number].data = ow_new_data(inputs[number].bytes)) == NULL) {
            ow_say(message, "there is no memory for input '%s'", wanted->name);
            status = OW_LIMIT;
        } else
            fill(&inputs[number], &state);
    }
    if (status != OW_OK)
        ow_free_values(inputs, about->input_count);
    return status;
}
