#include "values.h"

#include <datetime.h>

const char TWO_DIGITS[201] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
    "8081828384858687888990919293949596979899";

static int
count_digits(uint64_t value)
{
    int digits = 1;
    for (;;) {
        if (value < 10) {
            return digits;
        }
        if (value < 100) {
            return digits + 1;
        }
        if (value < 1000) {
            return digits + 2;
        }
        if (value < 10000) {
            return digits + 3;
        }
        value /= 10000;
        digits += 4;
    }
}

char *
put_uint(char *at, uint64_t value)
{
    char *end = at + count_digits(value);
    char *p = end;
    while (value >= 100) {
        p -= 2;
        put_two(p, (unsigned)(value % 100));
        value /= 100;
    }
    if (value >= 10) {
        put_two(p - 2, (unsigned)value);
    }
    else {
        p[-1] = (char)('0' + value);
    }
    return end;
}

char *
put_int(char *at, int64_t value)
{
    if (value < 0) {
        *at++ = '-';
        return put_uint(at, 0 - (uint64_t)value);
    }
    return put_uint(at, (uint64_t)value);
}

char *
put_date(char *at, int year, int month, int day)
{
    at = put_two(at, (unsigned)year / 100);
    at = put_two(at, (unsigned)year % 100);
    *at++ = '-';
    at = put_two(at, (unsigned)month);
    *at++ = '-';
    return put_two(at, (unsigned)day);
}

char *
put_time(char *at, int hour, int minute, int second, int micro)
{
    at = put_two(at, (unsigned)hour);
    *at++ = ':';
    at = put_two(at, (unsigned)minute);
    *at++ = ':';
    at = put_two(at, (unsigned)second);
    if (micro) {
        *at++ = '.';
        at = put_two(at, (unsigned)micro / 10000);
        at = put_two(at, (unsigned)micro / 100 % 100);
        at = put_two(at, (unsigned)micro % 100);
    }
    return at;
}

char *
put_long(char *at, PyObject *value)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    return overflow ? NULL : put_int(at, number);
}

char *
put_date_object(char *at, PyObject *value)
{
    (void)PyDateTimeAPI; /* the header's own, of no use here */
    return put_date(at, PyDateTime_GET_YEAR(value), PyDateTime_GET_MONTH(value),
                    PyDateTime_GET_DAY(value));
}

char *
put_datetime_object(const Kernel *kernel, char *at, PyObject *value, char separator)
{
    PyObject *zone = PyDateTime_DATE_GET_TZINFO(value);
    if (zone != Py_None && zone != kernel->utc) {
        return NULL;
    }
    at = put_date_object(at, value);
    *at++ = separator;
    at = put_time(at, PyDateTime_DATE_GET_HOUR(value), PyDateTime_DATE_GET_MINUTE(value),
                  PyDateTime_DATE_GET_SECOND(value), PyDateTime_DATE_GET_MICROSECOND(value));
    return zone == Py_None ? at : PUT(at, "+00:00");
}

char *
put_time_object(char *at, PyObject *value)
{
    if (PyDateTime_TIME_GET_TZINFO(value) != Py_None) {
        return NULL;
    }
    return put_time(at, PyDateTime_TIME_GET_HOUR(value), PyDateTime_TIME_GET_MINUTE(value),
                    PyDateTime_TIME_GET_SECOND(value), PyDateTime_TIME_GET_MICROSECOND(value));
}

/* The 128 bits in groups of 8-4-4-4-12 hexadecimal digits. */
static char *
put_grouped(char *at, const char *hex, Py_ssize_t digits)
{
    for (int i = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20) {
            *at++ = '-';
        }
        *at++ = i < 32 - digits ? '0' : hex[i - (32 - digits)];
    }
    return at;
}

char *
put_uuid_object(const Kernel *kernel, char *at, PyObject *value)
{
    PyObject *number = PyObject_GetAttr(value, kernel->str_int);
    PyObject *text = number != NULL && PyLong_CheckExact(number) ? PyNumber_ToBase(number, 16) : NULL;
    Py_XDECREF(number);
    if (text == NULL) {
        return NULL;
    }
    const char *hex = (const char *)PyUnicode_1BYTE_DATA(text); /* 0x… */
    Py_ssize_t digits = PyUnicode_GET_LENGTH(text) - 2;
    char *end = hex[0] == '0' && digits <= 32 ? put_grouped(at, hex + 2, digits) : NULL;
    Py_DECREF(text);
    return end;
}

char *
put_plain_object(const Kernel *kernel, char *at, PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyLong_Type) {
        return put_long(at, value);
    }
    if (type == &PyFloat_Type) {
        return put_double(at, PyFloat_AS_DOUBLE(value));
    }
    if (type == &PyBool_Type) {
        return value == Py_True ? PUT(at, "True") : PUT(at, "False");
    }
    if (type == kernel->datetime) {
        return put_datetime_object(kernel, at, value, ' ');
    }
    if (type == kernel->date) {
        return put_date_object(at, value);
    }
    return type == kernel->time ? put_time_object(at, value) : NULL;
}

PyObject *
plain_str(const Kernel *kernel, PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyLong_Type || type == kernel->datetime || type == kernel->time ||
        type == kernel->decimal || type == kernel->timedelta) {
        return PyObject_Str(value);
    }
    return NULL;
}
