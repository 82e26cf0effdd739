/* Flow records as pmacct prints them, one flat JSON object a line, into columns (app/feeds/scan.py).

   A line that differs from the usual form in anything is left to the JSON library, which then says what it is. So this
   code need not know all of JSON; what it does take, it must read as the library would, and a test compares them. */

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

enum { SOURCE, AT_S, VERSION, HIGH, LOW, SAMPLES, SIZE_BYTES, COLUMNS }; /* rows of `columns` */
enum { EVENT, EXPORTER, IN, OUT, DESTINATION, ARRIVED, SAMPLING, PACKETS, BYTES, OTHER };

#define ALL ((1 << OTHER) - 1)
#define COUNT_MAX (INT64_C(1) << 40) /* as in app/feeds/flows.py, and so are the two below */
#define INDEX_MAX INT64_C(0xFFFFFFFF)
#define TEXT_MAX 64
#define MEMBERS 64     /* whose place in a line is remembered */
#define SLOTS (1 << 14) /* of the table of sources; a power of two */
#define SOURCES_MAX (SLOTS / 2)

static const char *const NAMES[OTHER] = {"event_type", "peer_ip_src", "iface_in", "iface_out", "ip_dst",
                                         "timestamp_arrival", "sampling_rate", "packets", "bytes"};

struct text {
    const char *at;
    int64_t size;
};

struct flow {
    struct text texts[OTHER];
    int64_t numbers[OTHER];
    unsigned seen;
};

/* What many flows have in common; `exporter` is filled up with zeros. */
struct source {
    char exporter[TEXT_MAX];
    int64_t iface_in, iface_out, rate;
};

/* Members of the line before: `"name": `, in most lines the same at the same place. */
struct layout {
    struct text heads[MEMBERS];
    int fields[MEMBERS];
};

static int is_plain(const char *at, const char *end) {
    unsigned char odd = 0;
    for (; at < end; at++) {
        unsigned char c = (unsigned char)*at;
        odd |= (c < 0x20) | (c > 0x7e) | (c == '\\');
    }
    return !odd;
}

static int field_of(const char *name, int64_t size) {
    int field = 0;
    while (field < OTHER && (strlen(NAMES[field]) != (size_t)size || memcmp(NAMES[field], name, size))) field++;
    return field;
}

/* Past `"name": `, or NULL. */
static const char *take_head(const char *at, const char *end, struct text *head, int *field) {
    if (head->size && end - at > head->size && !memcmp(at, head->at, head->size)) return at + head->size;
    const char *close = *at == '"' ? memchr(at + 1, '"', end - at - 1) : NULL;
    if (!close || end - close < 4 || close[1] != ':') return NULL;
    *field = field_of(at + 1, close - at - 1);
    const char *value = close + 2 + (close[2] == ' ');
    *head = (struct text){at, value - at};
    return value;
}

/* Past a number, or NULL where it is none, has a leading zero, or is above `most`. */
static const char *take_number(const char *at, const char *end, int64_t most, int64_t *number) {
    const char *begin = at;
    int64_t sum = 0;
    for (; at < end && *at >= '0' && *at <= '9' && sum <= most; at++) sum = sum * 10 + (*at - '0');
    if (at == begin || sum > most || (*begin == '0' && at - begin > 1)) return NULL;
    *number = sum;
    return at;
}

static const char *take_value(const char *at, const char *end, int field, struct flow *flow) {
    int is_text = field == EVENT || field == EXPORTER || field == DESTINATION || field == ARRIVED;
    if (*at == '"' && (is_text || field == OTHER)) {
        const char *close = memchr(at + 1, '"', end - at - 1);
        if (!close) return NULL;
        if (is_text) flow->texts[field] = (struct text){at + 1, close - at - 1};
        return close + 1;
    }
    int64_t ignored, most = field == OTHER ? INT64_MAX / 16 : field == IN || field == OUT ? INDEX_MAX : COUNT_MAX;
    return is_text ? NULL : take_number(at, end, most, field == OTHER ? &ignored : &flow->numbers[field]);
}

/* Seconds of "1795246109.000000"; at most six digits of a fraction, for more could round up. */
static int take_second(struct text arrived, int64_t *at_s) {
    const char *at = arrived.at, *end = at + arrived.size;
    int64_t sum = 0;
    for (; at < end && *at >= '0' && *at <= '9' && sum <= INDEX_MAX; at++) sum = sum * 10 + (*at - '0');
    if (at == arrived.at || sum > INDEX_MAX) return 0;
    *at_s = sum;
    if (at == end) return 1;
    if (*at++ != '.' || at == end || end - at > 6) return 0;
    while (at < end && *at >= '0' && *at <= '9') at++;
    return at == end;
}

static int is_usual(const struct flow *flow, int64_t *at_s) {
    const struct text *texts = flow->texts;
    return flow->seen == ALL && texts[EVENT].size == 5 && !memcmp(texts[EVENT].at, "purge", 5) &&
           texts[EXPORTER].size <= TEXT_MAX && texts[DESTINATION].size <= TEXT_MAX &&
           texts[ARRIVED].size <= TEXT_MAX &&
           (!flow->numbers[SAMPLING] || flow->numbers[BYTES] <= COUNT_MAX / flow->numbers[SAMPLING]) &&
           take_second(texts[ARRIVED], at_s);
}

static int read_line(const char *at, const char *end, struct layout *layout, struct flow *flow, int64_t *at_s) {
    flow->seen = 0;
    if (!is_plain(at, end) || *at++ != '{') return 0;
    for (int member = 0; member < MEMBERS && at < end; member++) {
        int *field = &layout->fields[member];
        if (!(at = take_head(at, end, &layout->heads[member], field))) return 0;
        if (*field != OTHER && flow->seen & 1 << *field) return 0;
        if (!(at = take_value(at, end, *field, flow)) || at == end) return 0;
        if (*field != OTHER) flow->seen |= 1 << *field;
        if (*at == '}') return at + 1 == end && is_usual(flow, at_s);
        if (*at++ != ',') return 0;
        at += at < end && *at == ' ';
    }
    return 0;
}

/* IP version of an address, 0 where it is none or all zeros, as pmacct writes what it cannot read; IPv4 is in `high`
   alone. */
static int take_address(struct text address, int64_t *high, int64_t *low) {
    char text[TEXT_MAX + 1];
    unsigned char packed[16] = {0};
    memcpy(text, address.at, address.size);
    text[address.size] = 0;
    *high = *low = 0;
    int version = memchr(text, ':', address.size) ? 6 : 4;
    if (inet_pton(version == 6 ? AF_INET6 : AF_INET, text, packed) != 1) return 0;
    int half = version == 6 ? 8 : 4;
    for (int i = 0; i < half; i++) *high = (int64_t)((uint64_t)*high << 8 | packed[i]);
    for (int i = half; i < 2 * half && version == 6; i++) *low = (int64_t)((uint64_t)*low << 8 | packed[i]);
    return *high || *low ? version : 0;
}

static uint64_t hash_of(const struct flow *flow) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    struct text exporter = flow->texts[EXPORTER];
    for (int64_t i = 0; i < exporter.size; i++) hash = (hash ^ (unsigned char)exporter.at[i]) * UINT64_C(0x100000001b3);
    hash = (hash ^ (uint64_t)flow->numbers[IN]) * UINT64_C(0x9e3779b97f4a7c15);
    hash = (hash ^ (uint64_t)flow->numbers[OUT] ^ hash >> 32) * UINT64_C(0x9e3779b97f4a7c15);
    return (hash ^ (uint64_t)flow->numbers[SAMPLING]) * UINT64_C(0x9e3779b97f4a7c15) >> 32;
}

/* Place of the flow's source in `sources`, a new one where it is met for the first time; -1 where there are too many. */
static int64_t source_of(const struct flow *flow, struct source *sources, int64_t *count, int16_t *slots) {
    struct text exporter = flow->texts[EXPORTER];
    struct source source = {.iface_in = flow->numbers[IN], .iface_out = flow->numbers[OUT], .rate = flow->numbers[SAMPLING]};
    memcpy(source.exporter, exporter.at, exporter.size);
    for (uint64_t slot = hash_of(flow);; slot++) {
        int16_t *found = &slots[slot % SLOTS];
        if (!*found) {
            if (*count == SOURCES_MAX) return -1;
            sources[*count] = source;
            *found = (int16_t)++*count;
        }
        if (!memcmp(&sources[*found - 1], &source, sizeof source)) return *found - 1;
    }
}

/* What a scan writes to; the same as Job in app/native/__init__.py. `columns` has COLUMNS rows of `capacity` numbers,
   `sources` room for SOURCES_MAX, `slots` SLOTS zeros before the first text. */
struct job {
    int64_t *columns;
    int64_t capacity;
    struct source *sources;
    int16_t *slots;
    int64_t *left; /* (begin, end) of each line of this text that is left to the JSON library */
    int64_t left_max;
    int64_t flows, source_count; /* so far, over all texts */
    int64_t left_count;          /* of this text */
};

/* Adds the lines of a text. -1 where more than `left_max` lines are left: nothing of this text counts then. */
int scan(const char *text, int64_t size, struct job *job) {
    struct layout layout = {0};
    struct flow flow;
    int64_t flows = job->flows, lines = 0, at_s, source;
    const int64_t capacity = job->capacity;
    for (const char *at = text, *stop = text + size, *end; at < stop; at = end + 1) {
        if (!(end = memchr(at, '\n', stop - at))) end = stop;
        if (at == end) continue;
        if (flows < capacity && read_line(at, end, &layout, &flow, &at_s) &&
            (source = source_of(&flow, job->sources, &job->source_count, job->slots)) >= 0) {
            int64_t *row = job->columns + flows++;
            row[SOURCE * capacity] = source;
            row[AT_S * capacity] = at_s;
            row[VERSION * capacity] =
                take_address(flow.texts[DESTINATION], row + HIGH * capacity, row + LOW * capacity);
            row[SAMPLES * capacity] = flow.numbers[PACKETS];
            row[SIZE_BYTES * capacity] = flow.numbers[BYTES];
        } else if (lines < job->left_max) {
            job->left[2 * lines] = at - text;
            job->left[2 * lines++ + 1] = end - text;
        } else {
            return -1;
        }
    }
    job->flows = flows, job->left_count = lines;
    return 0;
}
