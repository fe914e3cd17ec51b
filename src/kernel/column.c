#include "column.h"

#include <stdlib.h>

/* Deeper nesting is refused, for the sake of the stack. */
#define DEPTH_MAX 64

#define DICTIONARY_VALUES 0
#define RUN_ENDS 0
#define RUN_VALUES 1

typedef struct {
    const char *format;
    Kind kind;
    int digits;
} Plain;

static const Plain PLAIN[] = {
    {"n", KIND_NULL, 0},         {"b", KIND_BOOL, 0},
    {"c", KIND_INT8, 0},         {"C", KIND_UINT8, 0},
    {"s", KIND_INT16, 0},        {"S", KIND_UINT16, 0},
    {"i", KIND_INT32, 0},        {"I", KIND_UINT32, 0},
    {"l", KIND_INT64, 0},        {"L", KIND_UINT64, 0},
    {"e", KIND_FLOAT16, 0},      {"f", KIND_FLOAT32, 0},
    {"g", KIND_FLOAT64, 0},      {"z", KIND_BINARY32, 0},
    {"Z", KIND_BINARY64, 0},     {"vz", KIND_BINARY_VIEW, 0},
    {"u", KIND_TEXT32, 0},       {"U", KIND_TEXT64, 0},
    {"vu", KIND_TEXT_VIEW, 0},   {"tdD", KIND_DATE32, 0},
    {"tdm", KIND_DATE64, 0},     {"tts", KIND_TIME32, 0},
    {"ttm", KIND_TIME32, 3},     {"ttu", KIND_TIME64, 6},
    {"ttn", KIND_TIME64, 9},     {"tDs", KIND_DURATION, 0},
    {"tDm", KIND_DURATION, 3},   {"tDu", KIND_DURATION, 6},
    {"tDn", KIND_DURATION, 9},   {"tiM", KIND_INTERVAL_MONTHS, 0},
    {"tiD", KIND_INTERVAL_DAYS, 0}, {"tin", KIND_INTERVAL_NANOS, 0},
    {"+l", KIND_LIST32, 0},      {"+L", KIND_LIST64, 0},
    {"+vl", KIND_LIST_VIEW32, 0}, {"+vL", KIND_LIST_VIEW64, 0},
    {"+s", KIND_STRUCT, 0},      {"+m", KIND_MAP, 0},
    {"+r", KIND_RUNS, 0},
};

/* What each kind is called where its values are made; NULL if the kernel makes them itself. */
static const char *
maker_name(Kind kind)
{
    switch (kind) {
    case KIND_DECIMAL:
        return "decimal";
    case KIND_DATE32:
    case KIND_DATE64:
        return "date";
    case KIND_TIME32:
    case KIND_TIME64:
        return "time";
    case KIND_TIMESTAMP:
        return "timestamp";
    case KIND_DURATION:
        return "duration";
    case KIND_INTERVAL_MONTHS:
        return "months";
    case KIND_INTERVAL_DAYS:
        return "days";
    case KIND_INTERVAL_NANOS:
        return "interval";
    case KIND_UUID:
        return "uuid";
    default:
        return NULL;
    }
}

static int
starts_with(const char **text, const char *start)
{
    size_t size = strlen(start);
    if (strncmp(*text, start, size) != 0) {
        return 0;
    }
    *text += size;
    return 1;
}

static int
not_known(const char *format)
{
    PyErr_Format(PyExc_ValueError, "the Arrow type with the format string '%.100s' is not known",
                 format);
    return -1;
}

static int
read_timestamp(Column *column, const char *rest)
{
    static const char UNITS[] = "smun";
    const char *unit = *rest ? strchr(UNITS, *rest) : NULL;
    if (unit == NULL || rest[1] != ':') {
        return -1;
    }
    column->kind = KIND_TIMESTAMP;
    column->digits = 3 * (int)(unit - UNITS);
    if (rest[2]) {
        column->zone = PyUnicode_FromString(rest + 2);
        return column->zone == NULL ? -1 : 0;
    }
    return 0;
}

static int
read_decimal(Column *column, const char *rest)
{
    int precision, bits = 128;
    if (sscanf(rest, "%d,%d,%d", &precision, &column->scale, &bits) < 2) {
        return -1;
    }
    column->kind = KIND_DECIMAL;
    column->size = bits / 8;
    return bits == 32 || bits == 64 || bits == 128 || bits == 256 ? 0 : -1;
}

static int
read_union(Column *column, Kind kind, const char *codes)
{
    column->kind = kind;
    column->type_codes = PyMem_Malloc(128);
    if (column->type_codes == NULL) {
        return -1;
    }
    memset(column->type_codes, -1, 128);
    for (int child = 0; *codes; child++) {
        char *end;
        long code = strtol(codes, &end, 10);
        if (end == codes || code < 0 || code > 127 || child > 127) {
            return -1;
        }
        column->type_codes[code] = (int8_t)child;
        codes = *end == ',' ? end + 1 : end;
    }
    return 0;
}

static void
be_integer(Column *column)
{
    column->kind = KIND_DECIMAL;
    column->size = 16;
    column->digits = -1;
}

static int
read_format(Column *column, const char *format)
{
    const char *rest = format;
    for (size_t i = 0; i < sizeof PLAIN / sizeof PLAIN[0]; i++) {
        if (strcmp(PLAIN[i].format, format) == 0) {
            column->kind = PLAIN[i].kind;
            column->digits = PLAIN[i].digits;
            return 0;
        }
    }
    if (starts_with(&rest, "ts")) {
        return read_timestamp(column, rest);
    }
    if (starts_with(&rest, "d:")) {
        return read_decimal(column, rest);
    }
    if (starts_with(&rest, "w:") || starts_with(&rest, "+w:")) {
        column->kind = format[0] == 'w' ? KIND_BINARY_FIXED : KIND_LIST_FIXED;
        column->size = atoi(rest);
        return column->size >= 0 ? 0 : -1;
    }
    if (starts_with(&rest, "+us:")) {
        return read_union(column, KIND_UNION_SPARSE, rest);
    }
    if (starts_with(&rest, "+ud:")) {
        return read_union(column, KIND_UNION_DENSE, rest);
    }
    /* Polars' integers of 128 bits, until Arrow has some. */
    if (strcmp(format, "_pli128") == 0) {
        be_integer(column);
        return 0;
    }
    return -1;
}

/* The next text of a schema's metadata, whose length stands before it. */
static int32_t
next_text(const char **metadata, const char **text)
{
    int32_t size;
    memcpy(&size, *metadata, 4);
    *text = *metadata + 4;
    *metadata += 4 + size;
    return size;
}

static int
is_text(const char *text, int32_t size, const char *other)
{
    return (size_t)size == strlen(other) && memcmp(text, other, (size_t)size) == 0;
}

/* The value of a key in the metadata; its length is -1 if there is none. */
static int32_t
find_metadata(const char *metadata, const char *key, const char **value)
{
    int32_t pairs = 0;
    if (metadata != NULL) {
        memcpy(&pairs, metadata, 4);
        metadata += 4;
    }
    for (int32_t i = 0; i < pairs; i++) {
        const char *text;
        int32_t size = next_text(&metadata, &text);
        int found = is_text(text, size, key);
        size = next_text(&metadata, value);
        if (found) {
            return size;
        }
    }
    return -1;
}

/* DuckDB's integers of 128 bits, as its setting arrow_lossless_conversion has them. */
static int
is_hugeint(const char *metadata)
{
    static const char HUGEINT[] = "\"type_name\":\"hugeint\"";
    const char *value;
    int32_t size = find_metadata(metadata, "ARROW:extension:metadata", &value);
    for (int32_t i = 0; i + (int32_t)sizeof HUGEINT - 1 <= size; i++) {
        if (memcmp(value + i, HUGEINT, sizeof HUGEINT - 1) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Those few extension types whose values are more than their storage's. */
static void
read_extension(Column *column, const char *metadata)
{
    const char *name;
    int32_t size = find_metadata(metadata, "ARROW:extension:name", &name);
    if (size < 0) {
        return;
    }
    if (column->kind == KIND_INT8 && is_text(name, size, "arrow.bool8")) {
        column->kind = KIND_BOOL8;
    }
    if (column->kind != KIND_BINARY_FIXED || column->size != 16) {
        return;
    }
    if (is_text(name, size, "arrow.uuid")) {
        column->kind = KIND_UUID;
    }
    if (is_text(name, size, "arrow.opaque") && is_hugeint(metadata)) {
        be_integer(column);
    }
}

static int
children_wanted(Kind kind)
{
    switch (kind) {
    case KIND_LIST32:
    case KIND_LIST64:
    case KIND_LIST_VIEW32:
    case KIND_LIST_VIEW64:
    case KIND_LIST_FIXED:
    case KIND_MAP:
        return 1;
    case KIND_RUNS:
        return 2;
    case KIND_STRUCT:
    case KIND_UNION_DENSE:
    case KIND_UNION_SPARSE:
        return -1; /* Any number. */
    default:
        return 0;
    }
}

static int
check_names(Column *column)
{
    PyObject *names = PySet_New(NULL);
    for (int64_t i = 0; names != NULL && i < column->n_children; i++) {
        if (PySet_Add(names, column->children[i].name) < 0) {
            Py_CLEAR(names);
        }
    }
    column->doubled = names != NULL && PySet_Size(names) != column->n_children;
    Py_XDECREF(names);
    return names == NULL ? -1 : 0;
}

static int read_column(Column *, const struct ArrowSchema *, PyObject *, int depth);

static int
read_children(Column *column, const struct ArrowSchema *schema, PyObject *makers, int depth)
{
    int64_t count = column->kind == KIND_DICTIONARY ? 1 : schema->n_children;
    int wanted = column->kind == KIND_DICTIONARY ? 1 : children_wanted(column->kind);
    if (count < 0 || count > INT32_MAX || (wanted >= 0 && count != wanted)) {
        return not_known(schema->format);
    }
    column->children = PyMem_Calloc((size_t)count + 1, sizeof(Column));
    if (column->children == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    column->n_children = count;
    for (int64_t i = 0; i < count; i++) {
        const struct ArrowSchema *child =
            column->kind == KIND_DICTIONARY ? schema->dictionary : schema->children[i];
        if (read_column(&column->children[i], child, makers, depth + 1) < 0) {
            return -1;
        }
    }
    if (column->kind == KIND_STRUCT && check_names(column) < 0) {
        return -1;
    }
    if (column->kind == KIND_MAP &&
        (column->children[0].kind != KIND_STRUCT || column->children[0].n_children != 2)) {
        return not_known(schema->format);
    }
    return 0;
}

static int
read_maker(Column *column, PyObject *makers)
{
    const char *name = maker_name(column->kind);
    if (name == NULL) {
        return 0;
    }
    int number = column->kind == KIND_DECIMAL && column->digits == 0 ? column->scale : column->digits;
    column->make = PyObject_CallFunction(
        makers, "siO", column->digits < 0 ? "integer" : name, number,
        column->zone == NULL ? Py_None : column->zone);
    return column->make == NULL ? -1 : 0;
}

static int
read_column(Column *column, const struct ArrowSchema *schema, PyObject *makers, int depth)
{
    if (depth > DEPTH_MAX) {
        PyErr_Format(PyExc_ValueError, "the Arrow schema is nested deeper than %d", DEPTH_MAX);
        return -1;
    }
    const char *name = schema->name == NULL ? "" : schema->name;
    column->name = PyUnicode_FromString(name);
    if (column->name == NULL) {
        return -1;
    }
    if (read_format(column, schema->format) < 0) {
        return PyErr_Occurred() ? -1 : not_known(schema->format);
    }
    if (schema->dictionary != NULL) {
        column->index_kind = column->kind;
        column->kind = KIND_DICTIONARY;
    }
    else {
        read_extension(column, schema->metadata);
    }
    if (read_children(column, schema, makers, depth) < 0) {
        return -1;
    }
    return read_maker(column, makers);
}

int
column_read(Column *column, const struct ArrowSchema *schema, PyObject *makers)
{
    return read_column(column, schema, makers, 0);
}

void
column_clear(Column *column)
{
    for (int64_t i = 0; i < column->n_children; i++) {
        column_clear(&column->children[i]);
    }
    column->n_children = 0;
    PyMem_Free(column->children);
    column->children = NULL;
    PyMem_Free(column->type_codes);
    column->type_codes = NULL;
    Py_CLEAR(column->name);
    Py_CLEAR(column->zone);
    Py_CLEAR(column->make);
}

/* How many buffers an array of this kind has, at the least. */
static int
buffers_wanted(Kind kind)
{
    switch (kind) {
    case KIND_NULL:
    case KIND_RUNS:
        return 0;
    case KIND_STRUCT:
    case KIND_LIST_FIXED:
    case KIND_UNION_SPARSE:
        return 1;
    case KIND_TEXT32:
    case KIND_TEXT64:
    case KIND_BINARY32:
    case KIND_BINARY64:
    case KIND_LIST_VIEW32:
    case KIND_LIST_VIEW64:
        return 3;
    case KIND_TEXT_VIEW: /* and as many as the last one, with their lengths, says */
    case KIND_BINARY_VIEW:
        return 3;
    default:
        return 2;
    }
}

static void
bind_buffers(Vector *vector, const struct ArrowArray *array)
{
    const void **buffers = array->buffers;
    switch (vector->kind) {
    case KIND_NULL:
    case KIND_RUNS:
        return;
    case KIND_UNION_SPARSE:
        vector->data = buffers[0];
        return;
    case KIND_UNION_DENSE:
        vector->data = buffers[0];
        vector->bytes = buffers[1];
        return;
    case KIND_TEXT_VIEW:
    case KIND_BINARY_VIEW:
        vector->blocks = (const void *const *)buffers + 2;
        break;
    default:
        vector->bytes = array->n_buffers > 2 ? buffers[2] : NULL;
    }
    vector->valid = array->null_count == 0 ? NULL : buffers[0];
    vector->data = array->n_buffers > 1 ? buffers[1] : NULL;
}

int
vector_bind(Vector *vector, const Column *column, const struct ArrowArray *array)
{
    int64_t children = column->kind == KIND_DICTIONARY ? 0 : column->n_children;
    if (array->n_buffers < buffers_wanted(column->kind) || array->n_children != children ||
        array->length < 0 || array->offset < 0 ||
        (column->kind == KIND_DICTIONARY) != (array->dictionary != NULL)) {
        PyErr_Format(PyExc_ValueError, "the Arrow array of column %R does not match its type",
                     column->name);
        return -1;
    }
    vector->column = column;
    vector->kind = column->kind;
    vector->offset = array->offset;
    vector->length = array->length;
    bind_buffers(vector, array);
    if (column->n_children == 0) {
        return 0;
    }
    vector->children = PyMem_Calloc((size_t)column->n_children, sizeof(Vector));
    if (vector->children == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (int64_t i = 0; i < column->n_children; i++) {
        const struct ArrowArray *child =
            column->kind == KIND_DICTIONARY ? array->dictionary : array->children[i];
        if (vector_bind(&vector->children[i], &column->children[i], child) < 0) {
            return -1;
        }
    }
    return 0;
}

void
vector_clear(Vector *vector)
{
    if (vector->children != NULL) {
        for (int64_t i = 0; i < vector->column->n_children; i++) {
            vector_clear(&vector->children[i]);
        }
        PyMem_Free(vector->children);
        vector->children = NULL;
    }
}

static int64_t
read_int(Kind kind, const void *data, int64_t at)
{
    switch (kind) {
    case KIND_INT8:
    case KIND_BOOL8:
        return ((const int8_t *)data)[at];
    case KIND_UINT8:
        return ((const uint8_t *)data)[at];
    case KIND_INT16:
        return ((const int16_t *)data)[at];
    case KIND_UINT16:
        return ((const uint16_t *)data)[at];
    case KIND_INT32:
    case KIND_DATE32:
    case KIND_TIME32:
    case KIND_INTERVAL_MONTHS:
        return ((const int32_t *)data)[at];
    case KIND_UINT32:
        return ((const uint32_t *)data)[at];
    case KIND_BOOL:
        return ((const uint8_t *)data)[at >> 3] >> (at & 7) & 1;
    default:
        return ((const int64_t *)data)[at];
    }
}

int64_t
vector_int(const Vector *vector, int64_t at)
{
    return read_int(vector->kind, vector->data, at);
}

static double
half_to_double(uint16_t half)
{
    int exponent = half >> 10 & 0x1F;
    int fraction = half & 0x3FF;
    uint64_t bits = (uint64_t)(half >> 15) << 63;
    double value;
    if (exponent == 0) {
        value = fraction / 16777216.0; /* subnormal: fraction * 2^-24 */
        return half >> 15 ? -value : value;
    }
    bits |= (uint64_t)(exponent == 31 ? 2047 : exponent - 15 + 1023) << 52;
    bits |= (uint64_t)fraction << 42;
    memcpy(&value, &bits, sizeof value);
    return value;
}

double
vector_double(const Vector *vector, int64_t at)
{
    switch (vector->kind) {
    case KIND_FLOAT16:
        return half_to_double(((const uint16_t *)vector->data)[at]);
    case KIND_FLOAT32:
        return (double)((const float *)vector->data)[at];
    default:
        return ((const double *)vector->data)[at];
    }
}

typedef struct {
    int32_t length;
    char start[4];
    int32_t block;
    int32_t offset;
} View;

int64_t
vector_bytes(const Vector *vector, int64_t at, const char **bytes)
{
    switch (vector->kind) {
    case KIND_TEXT32:
    case KIND_BINARY32: {
        const int32_t *offsets = vector->data;
        *bytes = (const char *)vector->bytes + offsets[at];
        return offsets[at + 1] - offsets[at];
    }
    case KIND_TEXT64:
    case KIND_BINARY64: {
        const int64_t *offsets = vector->data;
        *bytes = (const char *)vector->bytes + offsets[at];
        return offsets[at + 1] - offsets[at];
    }
    case KIND_TEXT_VIEW:
    case KIND_BINARY_VIEW: {
        const View *view = (const View *)vector->data + at;
        *bytes = view->length <= 12 ? view->start
                                    : (const char *)vector->blocks[view->block] + view->offset;
        return view->length;
    }
    default:
        *bytes = (const char *)vector->data + at * vector->column->size;
        return vector->column->size;
    }
}

int64_t
vector_items(const Vector *vector, int64_t at, int64_t *first)
{
    int64_t count;
    switch (vector->kind) {
    case KIND_LIST64:
        *first = ((const int64_t *)vector->data)[at];
        count = ((const int64_t *)vector->data)[at + 1] - *first;
        break;
    case KIND_LIST_VIEW32:
        *first = ((const int32_t *)vector->data)[at];
        count = ((const int32_t *)vector->bytes)[at];
        break;
    case KIND_LIST_VIEW64:
        *first = ((const int64_t *)vector->data)[at];
        count = ((const int64_t *)vector->bytes)[at];
        break;
    case KIND_LIST_FIXED:
        *first = at * vector->column->size;
        count = vector->column->size;
        break;
    default: /* A list or a map. */
        *first = ((const int32_t *)vector->data)[at];
        count = ((const int32_t *)vector->data)[at + 1] - *first;
    }
    *first += vector->children[0].offset;
    return count;
}

/* The first run that ends after `at`, by halving. */
static int64_t
run_of(const Vector *ends, int64_t at)
{
    int64_t low = 0, high = ends->length;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (vector_int(ends, ends->offset + middle) <= at) {
            low = middle + 1;
        }
        else {
            high = middle;
        }
    }
    return low;
}

static void
follow_union(const Vector **vector, int64_t *at)
{
    const Vector *here = *vector;
    int8_t code = ((const int8_t *)here->data)[*at];
    const Vector *child = &here->children[here->column->type_codes[code & 127]];
    if (here->kind == KIND_UNION_DENSE) {
        *at = ((const int32_t *)here->bytes)[*at];
    }
    *at += child->offset;
    *vector = child;
}

int
vector_follow(const Vector **vector, int64_t *at)
{
    for (;;) {
        const Vector *here = *vector;
        const Vector *values;
        switch (here->kind) {
        case KIND_UNION_SPARSE:
        case KIND_UNION_DENSE:
            follow_union(vector, at);
            break;
        case KIND_DICTIONARY:
            if (!vector_has(here, *at)) {
                return 0;
            }
            values = &here->children[DICTIONARY_VALUES];
            *at = values->offset + read_int(here->column->index_kind, here->data, *at);
            *vector = values;
            break;
        case KIND_RUNS:
            values = &here->children[RUN_VALUES];
            *at = values->offset + run_of(&here->children[RUN_ENDS], *at);
            *vector = values;
            break;
        default:
            return here->kind != KIND_NULL && vector_has(here, *at);
        }
    }
}
