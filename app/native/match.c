/* Which of many disjoint ranges holds each number (app/te/routing/lpm.py): a binary search within what the top bits tell. */

#include <stdint.h>

/* Range i begins at bounds[i], the first one at 0; `firsts[top]` is the range of the first number with these top bits,
   and one entry more is the last range. `found` becomes the place of each number's range. */
void match(const uint64_t *bounds, const int64_t *firsts, int64_t shift, const uint64_t *numbers, int64_t count,
           int64_t *found) {
    for (int64_t i = 0; i < count; i++) {
        uint64_t number = numbers[i], top = number >> shift;
        int64_t place = firsts[top];
        for (int64_t more = firsts[top + 1] - place; more > 0; more >>= 1) {
            int64_t step = (more + 1) >> 1;
            place += bounds[place + step] <= number ? step : 0;
        }
        found[i] = place;
    }
}
