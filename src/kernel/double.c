/* Doubles with the fewest digits that read back as the same double, in the form of Python's repr.
 *
 * The digits come from Raffaello Giulietti's algorithm, "The Schubfach way to render doubles"
 * (2020): of the decimals with the fewest digits inside the interval that rounds to the double,
 * the one nearest to it. Some 25 ns a number where PyOS_double_to_string takes 300 to 800.
 */
#include "pow10.h"
#include "values.h"

#if defined(_MSC_VER) && defined(_M_X64)
#include <intrin.h>
#endif

/* The high half of a * b; the low half goes to *low. */
static inline uint64_t
multiply(uint64_t a, uint64_t b, uint64_t *low)
{
#if defined(__SIZEOF_INT128__)
    unsigned __int128 product = (unsigned __int128)a * b;
    *low = (uint64_t)product;
    return (uint64_t)(product >> 64);
#elif defined(_MSC_VER) && defined(_M_X64)
    uint64_t high;
    *low = _umul128(a, b, &high);
    return high;
#else
    uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    uint64_t middle = a1 * b0 + (a0 * b0 >> 32);
    uint64_t cross = a0 * b1 + (uint32_t)middle;
    *low = a * b;
    return a1 * b1 + (middle >> 32) + (cross >> 32);
#endif
}

/* The upper 64 of the 192 bits of power * factor; its last bit says whether any was lost. */
static inline uint64_t
scale(const uint64_t power[2], uint64_t factor)
{
    uint64_t low, ignored;
    uint64_t carry = multiply(power[1], factor, &ignored);
    uint64_t high = multiply(power[0], factor, &low);
    low += carry;
    high += low < carry;
    return high | (low > 1);
}

static inline int
floor_log2_pow10(int exponent)
{
    return exponent * 1741647 >> 19;
}

/* fraction * 2^exponent as *decimal * 10^(what is returned). */
static int
shortest(uint64_t fraction, int exponent, int nearer_below, uint64_t *decimal)
{
    int odd = (int)(fraction & 1);
    int k = (exponent * 1262611 - (nearer_below ? 524031 : 0)) >> 22;
    int shift = exponent + floor_log2_pow10(-k) + 1;
    const uint64_t *power = POW10[-k - POW10_FIRST];
    uint64_t lower = scale(power, (4 * fraction - 2 + (uint64_t)nearer_below) << shift) + (uint64_t)odd;
    uint64_t value = scale(power, 4 * fraction << shift);
    uint64_t upper = scale(power, (4 * fraction + 2) << shift) - (uint64_t)odd;
    uint64_t digits = value / 4;

    if (digits >= 10) {
        uint64_t tens = digits / 10;
        int down_fits = lower <= 40 * tens;
        int up_fits = 40 * tens + 40 <= upper;
        if (down_fits != up_fits) {
            *decimal = tens + (uint64_t)up_fits;
            return k + 1;
        }
    }
    int down_fits = lower <= 4 * digits;
    int up_fits = 4 * digits + 4 <= upper;
    if (down_fits != up_fits) {
        *decimal = digits + (uint64_t)up_fits;
        return k;
    }
    uint64_t middle = 4 * digits + 2;
    *decimal = digits + (value > middle || (value == middle && (digits & 1)));
    return k;
}

static int
strip_zeros(uint64_t *decimal)
{
    int zeros = 0;
    if (*decimal % 100000000 == 0) {
        *decimal /= 100000000;
        zeros += 8;
    }
    if (*decimal % 10000 == 0) {
        *decimal /= 10000;
        zeros += 4;
    }
    while (*decimal % 10 == 0) {
        *decimal /= 10;
        zeros++;
    }
    return zeros;
}

/* d.ddde+xx; `digits` may lie at `at`. */
static char *
put_exponential(char *at, const char *digits, int count, int exponent)
{
    *at++ = digits[0];
    if (count > 1) {
        *at++ = '.';
        memcpy(at, digits + 1, (size_t)count - 1);
        at += count - 1;
    }
    *at++ = 'e';
    *at++ = exponent < 0 ? '-' : '+';
    unsigned size = (unsigned)(exponent < 0 ? -exponent : exponent);
    return size < 10 ? put_two(at, size) : put_uint(at, size);
}

/* The digits with a point after the first `point` of them, as repr places it. */
static char *
put_decimal(char *at, uint64_t decimal, int exponent)
{
    char digits[24];
    int count = (int)(put_uint(digits, decimal) - digits);
    int point = count + exponent;
    if (point <= -4 || point > 16) {
        return put_exponential(at, digits, count, point - 1);
    }
    if (point <= 0) {
        at = PUT(at, "0.");
        memset(at, '0', 4);
        memcpy(at - point, digits, 17);
        return at - point + count;
    }
    if (point >= count) {
        memset(at, '0', 17);
        memcpy(at, digits, (size_t)count);
        return PUT(at + point, ".0");
    }
    memcpy(at, digits, 17);
    at[point] = '.';
    memcpy(at + point + 1, digits + point, (size_t)(count - point));
    return at + count + 1;
}

char *
put_double(char *at, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint64_t fraction = bits & 0xFFFFFFFFFFFFF;
    int exponent = (int)(bits >> 52 & 0x7FF);
    if (exponent == 0x7FF && fraction) {
        return PUT(at, "nan");
    }
    if (bits >> 63) {
        *at++ = '-';
    }
    if (exponent == 0x7FF) {
        return PUT(at, "inf");
    }
    if (exponent == 0 && fraction == 0) {
        return PUT(at, "0.0");
    }
    int nearer_below = fraction == 0 && exponent > 1;
    if (exponent) {
        fraction |= (uint64_t)1 << 52;
    }
    else {
        exponent = 1;
    }
    exponent -= 1075;
    /* A whole number below 2^53 is its own shortest form. */
    if (exponent <= 0 && exponent > -53 && (fraction & (((uint64_t)1 << -exponent) - 1)) == 0) {
        return PUT(put_uint(at, fraction >> -exponent), ".0");
    }
    uint64_t decimal;
    int power = shortest(fraction, exponent, nearer_below, &decimal);
    power += strip_zeros(&decimal);
    return put_decimal(at, decimal, power);
}
