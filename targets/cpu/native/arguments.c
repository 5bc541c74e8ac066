#include "arguments.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int parse_number(const char *text, const char **end, int64_t *number)
{
    char *stop;
    long long value;

    if (*text < '0' || *text > '9')
        return 0;
    errno = 0;
    value = strtoll(text, &stop, 10);
    *number = value;
    *end = stop;
    return errno == 0;
}

static int parse_positive(const char *text, int64_t most, int64_t *number)
{
    const char *end;

    return parse_number(text, &end, number) && *end == '\0' && *number > 0 && *number <= most;
}

static int parse_seconds(const char *text, double *seconds)
{
    char *end;

    *seconds = strtod(text, &end);
    return end != text && *end == '\0' && *seconds > 0 && *seconds < 1e9;
}

/* The value of an option: --name=value, or the next argument. NULL when argument is another. */
static const char *value_of(const char *name, const char *short_name, int argc, char **argv,
                            int *place, int *is_missing)
{
    const char *argument = argv[*place];
    size_t length = strlen(name);

    if (strncmp(argument, name, length) == 0 && argument[length] == '=')
        return argument + length + 1;
    if (strcmp(argument, name) != 0 && (short_name == NULL || strcmp(argument, short_name) != 0))
        return NULL;
    if (*place + 1 >= argc) {
        *is_missing = 1;
        return argument;
    }
    return argv[++*place];
}

static int32_t read_option(struct ow_arguments *found, int argc, char **argv, int *place,
                           struct ow_message *message)
{
    const char *argument = argv[*place], *value;
    int is_missing = 0, is_right = 1;
    int64_t number = 0;

    if (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0)
        found->action = OW_HELP;
    else if (strcmp(argument, "--version") == 0)
        found->action = OW_VERSION;
    else if (strcmp(argument, "--info") == 0)
        found->action = OW_INFORM;
    else if (strcmp(argument, "--bench") == 0)
        found->action = OW_BENCH;
    else if (strcmp(argument, "--raw") == 0)
        found->is_raw = 1;
    else if ((value = value_of("--output", "-o", argc, argv, place, &is_missing)) != NULL)
        found->output = value;
    else if ((value = value_of("--threads", NULL, argc, argv, place, &is_missing)) != NULL) {
        is_right = parse_positive(value, 4096, &number);
        found->threads = (int32_t)number;
    } else if ((value = value_of("--seconds", NULL, argc, argv, place, &is_missing)) != NULL)
        is_right = parse_seconds(value, &found->seconds);
    else if ((value = value_of("--shape", NULL, argc, argv, place, &is_missing)) != NULL)
        found->shapes[found->shape_count++] = value;
    else if ((value = value_of("--dim", NULL, argc, argv, place, &is_missing)) != NULL)
        found->sizes[found->size_count++] = value;
    else {
        ow_say(message, "there is no option %s; see --help", argument);
        return OW_USAGE;
    }
    if (is_missing)
        ow_say(message, "%s needs a value; see --help", argument);
    else if (!is_right)
        ow_say(message, "%.*s cannot be %s; see --help", (int)strcspn(argument, "="), argument,
               value);
    return is_missing || !is_right ? OW_USAGE : OW_OK;
}

int32_t ow_read_arguments(struct ow_arguments *found, int argc, char **argv,
                          struct ow_message *message)
{
    size_t room = (size_t)argc + 1;
    int place, only_files = 0;
    int32_t status = OW_OK;

    memset(found, 0, sizeof *found);
    found->seconds = 3.0;
    found->files = calloc(3 * room, sizeof *found->files);
    if (found->files == NULL) {
        ow_say(message, "there is no memory");
        return OW_LIMIT;
    }
    found->shapes = found->files + room;
    found->sizes = found->shapes + room;
    for (place = 1; place < argc && status == OW_OK; place++) {
        if (only_files || argv[place][0] != '-' || argv[place][1] == '\0')
            found->files[found->file_count++] = argv[place];
        else if (strcmp(argv[place], "--") == 0)
            only_files = 1;
        else
            status = read_option(found, argc, argv, &place, message);
    }
    return status;
}

void ow_free_arguments(struct ow_arguments *arguments)
{
    free(arguments->files);
    arguments->files = NULL;
}

/* "1,3,224" or "1x3x224"; an empty text is a scalar. 0 when it is none of these. */
static int parse_shape(const char *text, int32_t *rank, int64_t *extents)
{
    *rank = 0;
    while (*text != '\0') {
        if (*rank == OW_LARGEST_RANK || !parse_number(text, &text, &extents[*rank]))
            return 0;
        (*rank)++;
        if (*text == ',' || *text == 'x')
            text++;
        else if (*text != '\0')
            return 0;
    }
    return 1;
}

/* Behind "NAME=" or "NAME:" where text begins so, else NULL. */
static const char *behind(const char *text, const char *name)
{
    size_t length = strlen(name);

    if (strncmp(text, name, length) != 0 || (text[length] != '=' && text[length] != ':'))
        return NULL;
    return text + length + 1;
}

int32_t ow_given_shape(const struct ow_arguments *arguments, const struct ow_tensor *input,
                       int64_t *extents, struct ow_message *message)
{
    int64_t given[OW_LARGEST_RANK], size;
    const char *text, *end;
    int32_t axis, rank;
    int number;

    for (axis = 0; axis < input->rank; axis++) {
        extents[axis] = input->extents[axis];
        for (number = 0; number < arguments->size_count && extents[axis] < 0; number++) {
            text = behind(arguments->sizes[number], input->extent_texts[axis]);
            if (text != NULL && parse_number(text, &end, &size) && *end == '\0')
                extents[axis] = size;
        }
    }
    for (number = 0; number < arguments->shape_count; number++) {
        text = behind(arguments->shapes[number], input->name);
        if (text == NULL && ow_description.input_count == 1)
            text = arguments->shapes[number];
        if (text == NULL)
            continue;
        if (!parse_shape(text, &rank, given) || rank != input->rank) {
            ow_say(message, "--shape %s: input '%s' takes %d numbers, as 1,3,224,224",
                   arguments->shapes[number], input->name, (int)input->rank);
            return OW_USAGE;
        }
        for (axis = 0; axis < rank; axis++)
            extents[axis] = given[axis];
    }
    return OW_OK;
}

int32_t ow_check_sizes(const struct ow_arguments *arguments, struct ow_message *message)
{
    const struct ow_description *model = &ow_description;
    const char *text, *end;
    int number, is_known;
    int32_t input, axis;
    int64_t size;

    for (number = 0; number < arguments->size_count; number++) {
        is_known = 0;
        for (input = 0; input < model->input_count; input++)
            for (axis = 0; axis < model->inputs[input].rank; axis++) {
                text = behind(arguments->sizes[number], model->inputs[input].extent_texts[axis]);
                is_known |= text != NULL && model->inputs[input].extents[axis] < 0 &&
                            parse_number(text, &end, &size) && *end == '\0';
            }
        if (!is_known) {
            ow_say(message, "--dim %s names no symbolic extent and its size; see --info",
                   arguments->sizes[number]);
            return OW_USAGE;
        }
    }
    for (number = 0; number < arguments->shape_count; number++) {
        is_known = model->input_count == 1;
        for (input = 0; input < model->input_count; input++)
            is_known |= behind(arguments->shapes[number], model->inputs[input].name) != NULL;
        if (!is_known) {
            ow_say(message, "--shape %s names no input; see --info", arguments->shapes[number]);
            return OW_USAGE;
        }
    }
    return OW_OK;
}
