#include "cells.h"

#if defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
#endif

#if defined(_MSC_VER)
#include <intrin.h>
#endif

#define DAY_S 86400

/* The days of 0001-01-01 and 9999-12-31, counted from 1970-01-01: what Python's dates can be. */
#define FIRST_DAY (-719162)
#define LAST_DAY 2932896

#define DURATION_DAYS_MAX 999999999

static inline int64_t
floor_divide(int64_t value, int64_t by, int64_t *rest)
{
    int64_t quotient = value / by;
    *rest = value % by;
    if (*rest < 0) {
        *rest += by;
        quotient--;
    }
    return quotient;
}

/* `count` units of 10^-digits seconds. (Four branches, so that each divides by a constant.) */
static inline Moment
moment_of(int64_t count, int digits)
{
    Moment moment;
    int64_t second, fraction = 0;
    switch (digits) {
    case 0:
        second = count;
        break;
    case 3:
        second = floor_divide(count, 1000, &fraction);
        fraction *= 1000000;
        break;
    case 6:
        second = floor_divide(count, 1000000, &fraction);
        fraction *= 1000;
        break;
    default:
        second = floor_divide(count, 1000000000, &fraction);
    }
    moment.nano = fraction;
    moment.day = floor_divide(second, DAY_S, &moment.second);
    return moment;
}

/* Year, month and day of a day: Howard Hinnant's civil_from_days, which has no loop, for years
 * that begin in March. */
static inline char *
put_day(char *to, int64_t day)
{
    if (day < FIRST_DAY || day > LAST_DAY) {
        return NULL;
    }
    uint32_t shifted = (uint32_t)(day + 719468); /* days since 0000-03-01 */
    uint32_t era = shifted / 146097;
    uint32_t of_era = shifted % 146097;
    uint32_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint32_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint32_t shifted_month = (5 * of_year + 2) / 153;
    uint32_t day_of_month = of_year - (153 * shifted_month + 2) / 5 + 1;
    uint32_t month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
    uint32_t year = era * 400 + year_of_era + (month <= 2);
    return put_date(to, (int)year, (int)month, (int)day_of_month);
}

/* The fraction of a second: nothing, six digits, or nine where Python's six are not enough. */
static inline char *
put_fraction(char *to, int64_t nano)
{
    if (nano == 0) {
        return to;
    }
    uint32_t micro = (uint32_t)nano / 1000, rest = (uint32_t)nano % 1000;
    *to++ = '.';
    to = put_two(to, micro / 10000);
    to = put_two(to, micro / 100 % 100);
    to = put_two(to, micro % 100);
    if (rest) {
        *to++ = (char)('0' + rest / 100);
        to = put_two(to, rest % 100);
    }
    return to;
}

static inline char *
put_clock(char *to, int64_t second, int64_t nano)
{
    uint32_t of_day = (uint32_t)second;
    to = put_time(to, (int)(of_day / 3600), (int)(of_day / 60 % 60), (int)(of_day % 60), 0);
    return put_fraction(to, nano);
}

static int32_t
offset_at(const Zone *zone, int64_t second)
{
    Py_ssize_t low = 0, high = zone->count;
    while (low < high) {
        Py_ssize_t middle = (low + high) / 2;
        if (zone->edges[middle] <= second) {
            low = middle + 1;
        }
        else {
            high = middle;
        }
    }
    return zone->offsets[low];
}

/* +01:00 or +00:53:28 */
static char *
put_offset(char *to, int32_t offset)
{
    uint32_t size = (uint32_t)(offset < 0 ? -offset : offset);
    *to++ = offset < 0 ? '-' : '+';
    to = put_two(to, size / 3600);
    *to++ = ':';
    to = put_two(to, size / 60 % 60);
    if (size % 60) {
        *to++ = ':';
        to = put_two(to, size % 60);
    }
    return to;
}

static char *
put_timestamp(char *to, int64_t count, int digits, const Zone *zone, char separator)
{
    Moment moment = moment_of(count, digits);
    int32_t offset = 0;
    if (zone->table != NULL) {
        if (moment.day < FIRST_DAY || moment.day > LAST_DAY) {
            return NULL;
        }
        offset = offset_at(zone, moment.day * DAY_S + moment.second);
        moment.day += floor_divide(moment.second + offset, DAY_S, &moment.second);
    }
    to = put_day(to, moment.day);
    if (to == NULL) {
        return NULL;
    }
    *to++ = separator;
    to = put_clock(to, moment.second, moment.nano);
    return zone->table == NULL ? to : put_offset(to, offset);
}

/* As str(datetime.timedelta) has it: -1 day, 0:00:01.000002 */
static char *
put_duration(char *to, const Moment *duration)
{
    if (duration->day) {
        to = put_int(to, duration->day);
        to = PUT(to, " day");
        if (duration->day != 1 && duration->day != -1) {
            *to++ = 's';
        }
        to = PUT(to, ", ");
    }
    char clock[24];
    char *end = put_clock(clock, duration->second, duration->nano);
    char *start = clock[0] == '0' ? clock + 1 : clock;
    memcpy(to, start, sizeof clock - 1);
    return to + (end - start);
}

static int
interval_parts(const Vector *vector, int64_t at, Moment *duration)
{
    struct {
        int32_t months;
        int32_t days;
        int64_t nanos;
    } whole = {0, 0, 0};
    if (vector->kind == KIND_INTERVAL_DAYS) {
        const int32_t *pair = (const int32_t *)vector->data + 2 * at;
        whole.days = pair[0];
        whole.nanos = (int64_t)pair[1] * 1000000;
    }
    else if (vector->kind == KIND_INTERVAL_NANOS) {
        memcpy(&whole, (const char *)vector->data + 16 * at, 16);
    }
    else {
        whole.months = (int32_t)vector_int(vector, at);
    }
    *duration = moment_of(whole.nanos, 9);
    duration->day += whole.days;
    return whole.months == 0 ? 0 : -1;
}

int
cell_duration(const Vector *vector, int64_t at, Moment *duration)
{
    if (vector->kind != KIND_DURATION) {
        if (interval_parts(vector, at, duration) < 0) {
            return -1;
        }
    }
    else {
        *duration = moment_of(vector_int(vector, at), vector->column->digits);
    }
    return duration->day >= -DURATION_DAYS_MAX && duration->day <= DURATION_DAYS_MAX ? 0 : -1;
}

/* All digits of a number of `limbs` words, lowest first, which is lost. */
static char *
put_wide(char *to, uint32_t *words, int limbs)
{
    char reversed[96];
    int count = 0;
    while (limbs && words[limbs - 1] == 0) {
        limbs--;
    }
    do {
        uint64_t rest = 0;
        for (int i = limbs - 1; i >= 0; i--) {
            uint64_t value = rest << 32 | words[i];
            words[i] = (uint32_t)(value / 1000000000);
            rest = value % 1000000000;
        }
        while (limbs && words[limbs - 1] == 0) {
            limbs--;
        }
        for (int i = 0; i < 9 && (limbs || rest); i++) {
            reversed[count++] = (char)('0' + rest % 10);
            rest /= 10;
        }
    } while (limbs);
    if (count == 0) {
        reversed[count++] = '0';
    }
    while (count) {
        *to++ = reversed[--count];
    }
    return to;
}

/* The sign and the digits, without a point. */
static char *
put_digits(char *to, const char *bytes, int size)
{
    uint32_t words[8];
    memcpy(words, bytes, (size_t)size);
    int limbs = size / 4;
    if (words[limbs - 1] >> 31) {
        *to++ = '-';
        uint64_t carry = 1;
        for (int i = 0; i < limbs; i++) {
            carry += (uint32_t)~words[i];
            words[i] = (uint32_t)carry;
            carry >>= 32;
        }
    }
    for (int i = 2; i < limbs; i++) {
        if (words[i]) {
            return put_wide(to, words, limbs);
        }
    }
    return put_uint(to, limbs > 1 ? (uint64_t)words[1] << 32 | words[0] : words[0]);
}

/* As str(decimal.Decimal) has it: with zeros before it, or with an exponent. */
static char *
put_decimal(char *to, const Vector *vector, int64_t at)
{
    const Column *column = vector->column;
    char number[96];
    char *end = put_digits(number, (const char *)vector->data + at * column->size, column->size);
    const char *digits = number;
    if (*digits == '-') {
        *to++ = *digits++;
    }
    int count = (int)(end - digits);
    int before = count - column->scale; /* digits before the point */
    if (column->scale < 0 || before <= -6) {
        *to++ = digits[0];
        if (count > 1) {
            *to++ = '.';
            memcpy(to, digits + 1, (size_t)(count - 1));
            to += count - 1;
        }
        *to++ = 'E';
        if (before - 1 >= 0) {
            *to++ = '+';
        }
        return put_int(to, before - 1);
    }
    if (before <= 0) {
        to = PUT(to, "0.");
        memset(to, '0', (size_t)-before);
        to += -before;
        before = 0;
    }
    else {
        memcpy(to, digits, (size_t)before);
        to += before;
        if (before < count) {
            *to++ = '.';
        }
    }
    memcpy(to, digits + before, (size_t)(count - before));
    return to + (count - before);
}

static char *
put_uuid(char *to, const char *bytes)
{
    static const char HEX[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *to++ = '-';
        }
        *to++ = HEX[(unsigned char)bytes[i] >> 4];
        *to++ = HEX[bytes[i] & 15];
    }
    return to;
}

Moment
cell_moment(const Vector *vector, int64_t at)
{
    const Column *column = vector->column;
    if (column->kind == KIND_DATE32) {
        return (Moment){.day = vector_int(vector, at)};
    }
    return moment_of(vector_int(vector, at), column->kind == KIND_DATE64 ? 3 : column->digits);
}

static char *
put_day_time(char *to, const Vector *vector, int64_t at)
{
    Moment moment = moment_of(vector_int(vector, at), vector->column->digits);
    return moment.day == 0 ? put_clock(to, moment.second, moment.nano) : NULL;
}

static char *
put_date64(char *to, const Vector *vector, int64_t at)
{
    return put_day(to, moment_of(vector_int(vector, at), 3).day);
}

char *
put_cell(char *to, const Vector *vector, int64_t at, const Zone *zone, char separator)
{
    const Column *column = vector->column;
    Moment duration;
    switch (vector->kind) {
    case KIND_BOOL:
    case KIND_BOOL8:
        return vector_int(vector, at) ? PUT(to, "True") : PUT(to, "False");
    case KIND_INT8:
    case KIND_UINT8:
    case KIND_INT16:
    case KIND_UINT16:
    case KIND_UINT32:
        return put_int(to, vector_int(vector, at));
    case KIND_INT32:
        return put_int(to, ((const int32_t *)vector->data)[at]);
    case KIND_INT64:
        return put_int(to, ((const int64_t *)vector->data)[at]);
    case KIND_UINT64:
        return put_uint(to, ((const uint64_t *)vector->data)[at]);
    case KIND_FLOAT16:
    case KIND_FLOAT32:
        return put_double(to, vector_double(vector, at));
    case KIND_FLOAT64:
        return put_double(to, ((const double *)vector->data)[at]);
    case KIND_DECIMAL:
        return put_decimal(to, vector, at);
    case KIND_DATE32:
        return put_day(to, ((const int32_t *)vector->data)[at]);
    case KIND_DATE64:
        return put_date64(to, vector, at);
    case KIND_TIME32:
    case KIND_TIME64:
        return put_day_time(to, vector, at);
    case KIND_TIMESTAMP:
        return column->zone != NULL && zone->table == NULL
                   ? NULL
                   : put_timestamp(to, ((const int64_t *)vector->data)[at], column->digits, zone,
                                   separator);
    case KIND_DURATION:
    case KIND_INTERVAL_MONTHS:
    case KIND_INTERVAL_DAYS:
    case KIND_INTERVAL_NANOS:
        return cell_duration(vector, at, &duration) < 0 ? NULL : put_duration(to, &duration);
    case KIND_UUID:
        return put_uuid(to, (const char *)vector->data + 16 * at);
    default:
        return NULL;
    }
}

static inline int
first_bit(unsigned bits)
{
#if defined(_MSC_VER)
    unsigned long index;
    _BitScanForward(&index, bits);
    return (int)index;
#else
    return __builtin_ctz(bits);
#endif
}

/* How many ASCII bytes come next: up to 16, which are looked at in one go where there are as
 * many. */
static inline int
ascii_run(const unsigned char *p, int64_t left)
{
#if defined(__SSE2__) || defined(_M_X64)
    if (left >= 16) {
        int high = _mm_movemask_epi8(_mm_loadu_si128((const __m128i *)p));
        return high ? first_bit((unsigned)high) : 16;
    }
#endif
    if (left >= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        if ((word & 0x8080808080808080) == 0) {
            return 8;
        }
    }
    return p[0] < 0x80;
}

/* The length of the sequence at `p`, which does not begin with an ASCII byte; 0 if it is none.
 * (Unicode 16, table 3-7.) */
static int
sequence_length(const unsigned char *p, int64_t left)
{
    unsigned char low = 0x80, high = 0xBF;
    int length;
    if (p[0] >= 0xC2 && p[0] <= 0xDF) {
        length = 2;
    }
    else if (p[0] >= 0xE0 && p[0] <= 0xEF) {
        length = 3;
        low = p[0] == 0xE0 ? 0xA0 : low;
        high = p[0] == 0xED ? 0x9F : high; /* Above are the surrogates. */
    }
    else if (p[0] >= 0xF0 && p[0] <= 0xF4) {
        length = 4;
        low = p[0] == 0xF0 ? 0x90 : low;
        high = p[0] == 0xF4 ? 0x8F : high;
    }
    else {
        return 0;
    }
    if (left < length || p[1] < low || p[1] > high) {
        return 0;
    }
    for (int i = 2; i < length; i++) {
        if (p[i] >> 6 != 2) {
            return 0;
        }
    }
    return length;
}

int
is_utf8(const char *bytes, int64_t size)
{
    const unsigned char *p = (const unsigned char *)bytes;
    for (int64_t i = 0; i < size;) {
        i += ascii_run(p + i, size - i);
        if (i < size && p[i] >= 0x80) {
            int length = sequence_length(p + i, size - i);
            if (length == 0) {
                return 0;
            }
            i += length;
        }
    }
    return 1;
}

static inline int64_t
text_offset(const Vector *vector, int64_t at)
{
    return vector->kind == KIND_TEXT32 ? ((const int32_t *)vector->data)[at]
                                               : ((const int64_t *)vector->data)[at];
}

/* Whether all text of these rows is UTF-8, seen at a glance: all together is, and no text begins
 * within a character. 0 does not say that it is not. */
static int
range_is_utf8(const Vector *vector, int64_t first, int64_t rows)
{
    if (rows == 0 || vector->kind == KIND_TEXT_VIEW) {
        return 0;
    }
    const unsigned char *bytes = vector->bytes;
    int64_t start = text_offset(vector, first), end = text_offset(vector, first + rows);
    for (int64_t at = first; at < first + rows; at++) {
        int64_t offset = text_offset(vector, at);
        if (offset < end && bytes[offset] >> 6 == 2) {
            return 0;
        }
    }
    return is_utf8((const char *)bytes + start, end - start);
}

/* The first and last second that occur, in whole seconds; 0 if there is none. */
static int
seconds_between(const Field *field, int64_t rows, int64_t *low, int64_t *high)
{
    const Vector *vector = field->vector;
    const int64_t *counts = vector->data;
    int any = 0;
    for (int64_t at = field->first; at < field->first + rows; at++) {
        if (!vector_has(vector, at)) {
            continue;
        }
        *low = any && *low < counts[at] ? *low : counts[at];
        *high = any && *high > counts[at] ? *high : counts[at];
        any = 1;
    }
    if (any) {
        Moment first = moment_of(*low, vector->column->digits);
        Moment last = moment_of(*high, vector->column->digits);
        *low = first.day * DAY_S + first.second;
        *high = last.day * DAY_S + last.second;
    }
    return any;
}

/* Asks Python for the offsets of the times that occur: (edges, offsets) as bytes, or None. */
static int
zone_open(Field *field, int64_t rows)
{
    int64_t low = 0, high = 0;
    PyObject *edges, *offsets;
    Zone *zone = &field->zone;
    seconds_between(field, rows, &low, &high);
    zone->table = PyObject_CallMethod(field->vector->column->make, "offsets", "LL", (long long)low,
                                      (long long)high);
    if (zone->table == NULL || zone->table == Py_None ||
        !PyArg_ParseTuple(zone->table, "SS", &edges, &offsets)) {
        return -1;
    }
    zone->edges = (const int64_t *)PyBytes_AS_STRING(edges);
    zone->offsets = (const int32_t *)PyBytes_AS_STRING(offsets);
    zone->count = PyBytes_GET_SIZE(edges) / 8;
    return 0;
}

Field *
fields_open(const Vector *batch, int64_t start, int64_t rows)
{
    int64_t count = batch->column->n_children;
    Field *fields = PyMem_Calloc((size_t)count + 1, sizeof(Field));
    for (int64_t i = 0; fields != NULL && i < count; i++) {
        Field *field = &fields[i];
        const Column *column = &batch->column->children[i];
        field->vector = &batch->children[i];
        field->first = field->vector->offset + batch->offset + start;
        field->checked = kind_is_text(column->kind) && range_is_utf8(field->vector, field->first, rows);
        if (column->kind == KIND_TIMESTAMP && column->zone != NULL && zone_open(field, rows) < 0) {
            fields_close(fields, count);
            fields = NULL;
        }
    }
    return fields;
}

void
fields_close(Field *fields, int64_t count)
{
    for (int64_t i = 0; fields != NULL && i < count; i++) {
        Py_CLEAR(fields[i].zone.table);
    }
    PyMem_Free(fields);
}

int
columns_write(Buffer *out, int64_t rows, void *loop, WriteRows write)
{
    if (buffer_begin(out, BUFFER_FIRST_BYTES) < 0) {
        return -1;
    }
    int64_t first = rows > 0;
    buffer_unlock(out);
    int done = write(loop, 0, first);
    done = done < 0 ? -1 : buffer_expect(out, (Py_ssize_t)rows);
    done = done < 0 ? -1 : write(loop, first, rows);
    buffer_lock(out);
    return done;
}
