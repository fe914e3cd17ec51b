/* Values as text: numbers, dates and times, into memory that has room for VALUE_BYTES. */
#ifndef UNSPOOL_VALUES_H
#define UNSPOOL_VALUES_H

#include "buffer.h"

/* No number, date or time is longer: an ISO time with microseconds and an offset has 32. */
#define VALUE_BYTES 40

/* All decimal numbers below a hundred, two digits each. */
extern const char TWO_DIGITS[201];

/* Each writes at `at` and gives the end of what it wrote. */
char *put_uint(char *at, uint64_t value);
char *put_int(char *at, int64_t value);

/* As Python's repr: the fewest digits that read back as the same double. */
char *put_double(char *at, double value);

char *put_date(char *at, int year, int month, int day);              /* 2026-01-02 */
char *put_time(char *at, int hour, int minute, int second, int micro); /* 03:04:05[.000006] */

static inline char *
put_two(char *at, unsigned value)
{
    memcpy(at, TWO_DIGITS + 2 * value, 2);
    return at + 2;
}

/* Python objects of exactly these types, at most VALUE_BYTES; room must be reserved. NULL
 * if there is no short form: an int beyond 64 bits, a time zone that is not UTC. */
char *put_long(char *at, PyObject *value);
char *put_date_object(char *at, PyObject *value);
char *put_datetime_object(const Kernel *kernel, char *at, PyObject *value, char separator);
char *put_time_object(char *at, PyObject *value);
char *put_uuid_object(const Kernel *kernel, char *at, PyObject *value);

/* The str() of any of these, of bools and of floats, if its type and form are so simple. NULL
 * if not; no exception is set. */
char *put_plain_object(const Kernel *kernel, char *at, PyObject *value);

/* The str() of what put_plain_object has no form for, as a new reference, if the type is one of
 * Python's for numbers, dates and times. NULL if not, maybe with an exception. */
PyObject *plain_str(const Kernel *kernel, PyObject *value);

#endif
