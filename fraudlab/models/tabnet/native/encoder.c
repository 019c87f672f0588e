/* TabNet's encoder on the CPU, forward and backward; compiled for REAL = float and double by compile.py.

   Three things make it fast, and none changes the function:
   - Ghost batch norm ties together only the rows of one ghost batch, so a thread takes one ghost batch through all
     layers while its numbers are in cache. If there are fewer ghost batches than threads, all threads share each.
   - Masks are sparse: of hundreds of columns a row keeps a handful. What follows a mask (its product with the columns,
     the first linear layer, all of their gradients) is computed for the columns kept and for no others.
   - The attention's columns are linear in n_a numbers, so their means and variances come from the n_a x n_a covariance,
     and the dense part of their gradients is an n_a x n_a product.

   Letters: B rows, D embedded columns, G mask groups, S steps, T = S + 1 feature transformers, L gated layers of each,
   H = n_d + n_a, W = 2 H, R rows of a ghost batch, K capacity of a row's support. Arrays are row-major. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#ifndef REAL
#define REAL float
#define SINGLE
#endif
#define EPS 1e-5 /* of every batch norm */
#define BLOCK 64 /* rows summed in REAL before they join a sum in double */
#define EVAL_ROWS 128
#define TOGETHER 8 /* rows whose masks are found before the columns they keep are read */
#define AHEAD 3 /* rows whose columns are fetched early in the backward pass */
#define INLINE static inline __attribute__((always_inline))

typedef struct {
    int64_t rows, columns, groups, n_d, n_a, steps, layers, ghost_rows, capacity, threads, entmax, training;
    double gamma, epsilon, momentum;
} Shape;

typedef struct {
    const REAL *x;          /* [B, D] normalised columns */
    const REAL *first;      /* [B, W] x times the first transformer's first linear layer */
    const REAL *prior;      /* [B, G], or null for 1 */
    const REAL *parameters; /* all parameters, at the offsets below */
    const int64_t *linear;  /* [T * L] offsets of linear layers, transposed: [inputs, W] */
    const int64_t *norm;    /* [T * L] offsets of their norms: weight [W], bias [W] */
    const int64_t *attend;  /* [S] offsets of attentive linear layers, transposed: [n_a, G] */
    const int64_t *attend_norm; /* [S] offsets of their norms: weight [G], bias [G] */
    REAL *const *running;   /* [2 * (T * L + S)] running mean and variance of each norm */
    const int64_t *group_start; /* [G + 1] where each group's columns start in: */
    const int32_t *group_column;
    const REAL *group_share;
    REAL *decisions; /* [S, B, n_d] */
    double *entropy; /* sum over steps and rows of sum(mask * log(mask + epsilon)) */
    /* kept for the backward pass, and unused in evaluation */
    REAL *normed;          /* [T, L, B, W] */
    REAL *gate;            /* [T, L, B, H] */
    REAL *inverse;         /* [T, L, chunks, W] 1 / standard deviation */
    REAL *attention;       /* [S, B, n_a] less its ghost batch's mean */
    REAL *attend_inverse;  /* [S, chunks, G] */
    double *covariance;    /* [S, chunks, n_a, n_a] */
    int32_t *support;      /* [S, B, K] groups with a positive mask */
    int32_t *support_size; /* [S, B] */
    REAL *mask;            /* [S, B, K] */
    REAL *support_prior;   /* [S, B, K] */
} Tape;

typedef struct {
    const REAL *decisions; /* [S, B, n_d] */
    double entropy;        /* of the sum in Tape.entropy */
    REAL *x;               /* [B, D] zeros, or null if not wanted; gets what comes through the masks */
    REAL *first;           /* [B, W] */
    REAL *parameters;      /* [threads, all parameters] zeros */
    int64_t num_parameters;
} Gradient;

/* ------------------------------------------------------------------------------------------- threads of one batch */

typedef struct {
    int size, rank, flip;
    int64_t width;
    double *slots; /* [2, size, width] */
} Team;

/* Sum `values` over the team's threads, in the threads' order, for all of them. */
static void team_sum(Team *team, double *values, int64_t count) {
    if (team->size == 1) return;
    double *slots = team->slots + (team->flip * team->size) * team->width;
    memcpy(slots + team->rank * team->width, values, count * sizeof(double));
#ifdef _OPENMP
#pragma omp barrier
#endif
    memset(values, 0, count * sizeof(double));
    for (int member = 0; member < team->size; member++)
        for (int64_t i = 0; i < count; i++) values[i] += slots[member * team->width + i];
    team->flip ^= 1; /* the next sum writes elsewhere: a slow reader of this one is past it by the one after */
}

/* -------------------------------------------------------------------------------------------------- small algebra */

/* A vector of REAL wherever it lies; the compiler makes do with narrower ones where the processor has none so wide. */
#ifdef __AVX512F__
#define VECTOR 64
#else
#define VECTOR 32
#endif
#define LANES ((int64_t)(VECTOR / sizeof(REAL)))
#define FEW ((int64_t)(16 / sizeof(REAL)))
typedef REAL Vector __attribute__((vector_size(VECTOR), aligned(sizeof(REAL)), may_alias));
typedef REAL Narrow __attribute__((vector_size(16), aligned(sizeof(REAL)), may_alias));

/* exp for the gates: polynomials that the compiler vectorises, good to 2 units in the last place. */
INLINE double exp_double(double v) {
    const double round = 6755399441055744.; /* adding it leaves the nearest whole number in the lowest bits */
    union {
        double f;
        uint64_t i;
    } whole, scale;
    v = v > 708. ? 708. : v;
    v = v < -708. ? -708. : v;
    whole.f = v * 1.44269504088896341 + round;
    scale.i = (whole.i + 1023) << 52;
    const double n = whole.f - round, r = v - n * 6.93147180369123816490e-1 - n * 1.90821492927058770002e-10;
    double p = 1. / 6227020800;
    p = p * r + 1. / 479001600;
    p = p * r + 1. / 39916800;
    p = p * r + 1. / 3628800;
    p = p * r + 1. / 362880;
    p = p * r + 1. / 40320;
    p = p * r + 1. / 5040;
    p = p * r + 1. / 720;
    p = p * r + 1. / 120;
    p = p * r + 1. / 24;
    p = p * r + 1. / 6;
    p = p * r + 1. / 2;
    return (p * r * r + r + 1) * scale.f;
}

INLINE float exp_float(float v) {
    v = v > 88.f ? 88.f : v;
    v = v < -87.f ? -87.f : v;
    float whole = (v * 1.44269504088896341f + 12582912.f) - 12582912.f;
    float r = v - whole * 0.693359375f;
    r -= whole * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.f;
    union {
        int32_t i;
        float f;
    } scale;
    scale.i = ((int32_t)whole + 127) << 23;
    return p * scale.f;
}

/* log of a positive number: 2 atanh((m - 1) / (m + 1)) of a mantissa m near 1, and as many times log(2) as are due. */
INLINE double log_double(double v) {
    union {
        double f;
        uint64_t i;
    } m, e;
    m.f = v;
    e.i = (m.i >> 52) | 0x4330000000000000; /* 2^52 plus the exponent */
    m.i = (m.i & 0x000fffffffffffff) | 0x3ff0000000000000;
    const int large = m.f > 1.4142135623730951;
    const double n = e.f - 4503599627370496. - 1023 + large;
    const double x = large ? m.f / 2 : m.f, s = (x - 1) / (x + 1), z = s * s;
    double p = 1. / 19;
    p = p * z + 1. / 17;
    p = p * z + 1. / 15;
    p = p * z + 1. / 13;
    p = p * z + 1. / 11;
    p = p * z + 1. / 9;
    p = p * z + 1. / 7;
    p = p * z + 1. / 5;
    p = p * z + 1. / 3;
    return n * 6.93147180369123816490e-1 + (2 * s + (2 * s * z * p + n * 1.90821492927058770002e-10));
}

INLINE float log_float(float v) {
    union {
        float f;
        uint32_t i;
    } m;
    m.f = v;
    int32_t e = (int32_t)(m.i >> 23) - 127;
    m.i = (m.i & 0x007fffff) | 0x3f800000;
    const int large = m.f > 1.41421356f;
    const float n = (float)(e + large);
    const float x = large ? m.f / 2 : m.f, s = (x - 1) / (x + 1), z = s * s;
    const float p = ((z / 9 + 1.f / 7) * z + 1.f / 5) * z + 1.f / 3;
    return n * 0.693359375f + (2 * s + (2 * s * z * p - n * 2.12194440e-4f));
}

INLINE REAL log_(REAL x) { return sizeof(REAL) == 8 ? (REAL)log_double((double)x) : (REAL)log_float((float)x); }

INLINE REAL exp_(REAL x) { return sizeof(REAL) == 8 ? (REAL)exp_double((double)x) : (REAL)exp_float((float)x); }

static int64_t largest(int64_t a, int64_t b) { return a > b ? a : b; }

INLINE void axpy(REAL a, const REAL *restrict x, REAL *restrict y, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] += a * x[i];
}

/* c [rows, n] += a times b [k, n], where a's entry (row, k) is a[row * down + k * across]: a tile of c stays in
   registers over all of k. */
#define TILE(name, Type, ROWS, COUNT)                                                                              \
    INLINE void name(const REAL *restrict a, int64_t down, int64_t across, const REAL *restrict b, REAL *restrict c, \
                     int64_t depth, int64_t n) {                                                                    \
        const int64_t lanes = sizeof(Type) / sizeof(REAL);                                                          \
        Type sum[ROWS][COUNT];                                                                                      \
        for (int r = 0; r < ROWS; r++)                                                                              \
            for (int j = 0; j < COUNT; j++) sum[r][j] = *(const Type *)(c + r * n + j * lanes);                     \
        for (int64_t k = 0; k < depth; k++)                                                                         \
            for (int j = 0; j < COUNT; j++) {                                                                       \
                const Type v = *(const Type *)(b + k * n + j * lanes);                                              \
                for (int r = 0; r < ROWS; r++) sum[r][j] += a[r * down + k * across] * v;                           \
            }                                                                                                       \
        for (int r = 0; r < ROWS; r++)                                                                              \
            for (int j = 0; j < COUNT; j++) *(Type *)(c + r * n + j * lanes) = sum[r][j];                           \
    }
TILE(tile_4_2, Vector, 4, 2)
TILE(tile_4_1, Vector, 4, 1)
TILE(tile_4_few, Narrow, 4, 1)
TILE(tile_1_2, Vector, 1, 2)
TILE(tile_1_1, Vector, 1, 1)
TILE(tile_1_few, Narrow, 1, 1)

INLINE void multiply(const REAL *restrict a, int64_t down, int64_t across, const REAL *restrict b, REAL *restrict c,
                     int64_t rows, int64_t depth, int64_t n) {
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4, a += 4 * down, c += 4 * n) {
        int64_t i = 0;
        for (; i + 2 * LANES <= n; i += 2 * LANES) tile_4_2(a, down, across, b + i, c + i, depth, n);
        for (; i + LANES <= n; i += LANES) tile_4_1(a, down, across, b + i, c + i, depth, n);
        for (; i + FEW <= n; i += FEW) tile_4_few(a, down, across, b + i, c + i, depth, n);
        for (; i < n; i++)
            for (int64_t k = 0; k < depth; k++)
                for (int64_t j = 0; j < 4; j++) c[j * n + i] += a[j * down + k * across] * b[k * n + i];
    }
    for (; r < rows; r++, a += down, c += n) {
        int64_t i = 0;
        for (; i + 2 * LANES <= n; i += 2 * LANES) tile_1_2(a, down, across, b + i, c + i, depth, n);
        for (; i + LANES <= n; i += LANES) tile_1_1(a, down, across, b + i, c + i, depth, n);
        for (; i + FEW <= n; i += FEW) tile_1_few(a, down, across, b + i, c + i, depth, n);
        for (; i < n; i++)
            for (int64_t k = 0; k < depth; k++) c[i] += a[k * across] * b[k * n + i];
    }
}

/* y [rows, n] += a [rows, m] times matrix [m, n] */
INLINE void rows_times(const REAL *restrict a, const REAL *restrict matrix, REAL *restrict y, int64_t rows, int64_t m,
                       int64_t n) {
    multiply(a, m, 1, matrix, y, rows, m, n);
}

/* matrix [m, n] += outer products of the rows of a [rows, m] and b [rows, n] */
INLINE void add_outer(const REAL *restrict a, const REAL *restrict b, REAL *restrict matrix, int64_t rows, int64_t m,
                      int64_t n) {
    multiply(a, 1, m, b, matrix, m, rows, n);
}

INLINE REAL dot(const REAL *restrict a, const REAL *restrict b, int64_t n) {
    REAL sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* ---------------------------------------------------------------------------------------------------------- masks */

/* Keep those of from[0 .. n) that lie above `bound` once `less` is taken off, with their groups (`groups`, or null where
   number i is of group i); writes to v and group, which may be `from` and `groups` and have 16 places more than n. */
INLINE int64_t keep_above(const REAL *from, const int32_t *groups, int64_t n, REAL less, REAL bound, REAL *v,
                          int32_t *group) {
    int64_t kept = 0, i = 0;
#if defined(__AVX512F__) && defined(SINGLE)
    const __m512i count = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (; i < n; i += 16) {
        const __mmask16 there = n - i < 16 ? (__mmask16)((1u << (n - i)) - 1) : (__mmask16)0xffff;
        const __m512 x = _mm512_sub_ps(_mm512_maskz_loadu_ps(there, from + i), _mm512_set1_ps(less));
        const __mmask16 above = _mm512_mask_cmp_ps_mask(there, x, _mm512_set1_ps(bound), _CMP_GT_OQ);
        if (!above) continue;
        const __m512i g = groups ? _mm512_maskz_loadu_epi32(there, groups + i)
                                 : _mm512_add_epi32(count, _mm512_set1_epi32((int)i));
        _mm512_storeu_ps(v + kept, _mm512_maskz_compress_ps(above, x));
        _mm512_storeu_si512(group + kept, _mm512_maskz_compress_epi32(above, g));
        kept += __builtin_popcount(above);
    }
#else
    if (!groups)
        for (; i + 16 <= n; i += 16) {
            int any = 0;
#pragma omp simd reduction(+ : any)
            for (int k = 0; k < 16; k++) any += from[i + k] - less > bound;
            if (!any) continue;
            for (int k = 0; k < 16; k++) {
                const REAL x = from[i + k] - less;
                group[kept] = (int32_t)(i + k), v[kept] = x;
                kept += x > bound;
            }
        }
    for (; i < n; i++) {
        const REAL x = from[i] - less;
        group[kept] = groups ? groups[i] : (int32_t)i, v[kept] = x;
        kept += x > bound;
    }
#endif
    return kept;
}

/* One number each of TOGETHER rows. */
typedef REAL Rows __attribute__((vector_size(TOGETHER * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));
typedef double RowsInDouble __attribute__((vector_size(TOGETHER * sizeof(double))));
#define WHERE(mask, x) ((Rows)((mask) & (__typeof__(mask))(x)))

/* Thresholds of TOGETHER rows' masks, each on the candidates that stand below each other in c [n] less their row's
   maximum (for 1.5-entmax half of that; -infinity where a row has no more). Newton's steps from the left leave out what
   cannot belong, until nothing leaves; for entmax the quadratic's root on the elements known by then comes last. */
INLINE Rows thresholds(const Rows *restrict c, int64_t n, int entmax) {
    const REAL near_ = entmax ? (sizeof(REAL) == 8 ? 1e-8 : 3e-4) : 0;
    const Rows one = (Rows){0} + 1;
    Rows tau = -one;
    for (int moved = 1, round = 0; moved && round < 100; round++) {
        Rows sum = {0}, other = {0};
        for (int64_t e = 0; e < n; e++)
            if (entmax) {
                const Rows above = WHERE(c[e] > tau, c[e] - tau);
                sum += above, other += above * above;
            } else
                sum += WHERE(c[e] > tau, c[e]), other += WHERE(c[e] > tau, one);
        const Rows next = entmax ? tau + (other - 1) / (2 * sum) : (sum - 1) / other, step = next - tau;
        moved = 0;
        for (int l = 0; l < TOGETHER; l++) moved |= step[l] > near_;
        tau = WHERE(next > tau, next) + WHERE(~(next > tau), tau);
    }
    if (!entmax) return tau;
    RowsInDouble size = {0}, mean = {0}, spread = {0};
    for (int64_t e = 0; e < n; e++) {
        size += __builtin_convertvector(WHERE(c[e] > tau, one), RowsInDouble);
        mean += __builtin_convertvector(WHERE(c[e] > tau, c[e]), RowsInDouble);
    }
    mean /= size;
    for (int64_t e = 0; e < n; e++) {
        const RowsInDouble inside = __builtin_convertvector(WHERE(c[e] > tau, one), RowsInDouble);
        const RowsInDouble apart = __builtin_convertvector(WHERE(c[e] > tau, c[e]), RowsInDouble) - inside * mean;
        spread += apart * apart;
    }
    for (int l = 0; l < TOGETHER; l++) tau[l] = (REAL)(mean[l] - sqrt(fmax(1 - spread[l], 0) / size[l]));
    return tau;
}

/* The supports of the masks on rows z [count <= TOGETHER, G]: each one's groups and, in v, mask values (rows of both are G +
   16 apart), and their number, -1 if a row has no finite maximum. Up to the next multiple of 8 the values are 0. */
INLINE void find_supports(const REAL *restrict z, int64_t count, int64_t G, int entmax, REAL *restrict c, int32_t *group,
                          REAL *v, int64_t *sizes) {
    const int64_t apart = G + 16;
    int64_t most = 0;
    for (int64_t r = 0; r < count; r++) {
        REAL top = -INFINITY;
#pragma omp simd reduction(max : top)
        for (int64_t g = 0; g < G; g++) top = z[r * G + g] > top ? z[r * G + g] : top;
        const int finite = top > -INFINITY && top < INFINITY;
        /* below the top, which itself always passes, however large it is */
        sizes[r] = finite ? keep_above(z + r * G, 0, G, top, entmax ? -2 : -1, v + r * apart, group + r * apart) : -1;
        most = largest(most, sizes[r]);
    }
    const REAL part = entmax ? (REAL)0.5 : (REAL)1;
    for (int64_t r = 0; r < TOGETHER; r++) {
        const int64_t size = r < count ? largest(sizes[r], 0) : 0;
        for (int64_t e = 0; e < size; e++) c[e * TOGETHER + r] = v[r * apart + e] *= part;
        for (int64_t e = size; e < most; e++) c[e * TOGETHER + r] = -INFINITY;
    }
    const Rows tau = thresholds((const Rows *)c, most, entmax);
    for (int64_t r = 0; r < count; r++) {
        REAL *mask = v + r * apart;
        if (sizes[r] < 0) continue;
        sizes[r] = keep_above(mask, group + r * apart, sizes[r], tau[r], 0, mask, group + r * apart);
        for (int64_t e = sizes[r]; e % 8; e++) mask[e] = 0;
        if (entmax)
            for (int64_t e = 0; e < sizes[r]; e++) mask[e] *= mask[e];
    }
}

/* ------------------------------------------------------------------------------------------------- forward */

typedef struct {
    REAL *u;          /* [R, W] evaluation only: a layer's linear outputs */
    REAL *state;      /* [R, H] a transformer's running value */
    REAL *prior;      /* [R, P] divided by gamma^step; P is G, padded to whole vectors */
    REAL *attention;  /* [R, n_a] evaluation only */
    REAL *z;          /* [TOGETHER, P] */
    REAL *v;          /* [TOGETHER, P + 16] */
    int32_t *group;   /* [TOGETHER, P + 16] */
    REAL *candidates; /* [P, TOGETHER] */
    REAL *scaled;     /* [n_a, P] attentive weights with the norm and the prior's gamma^step in them */
    REAL *shift;      /* [P], -infinity in the padding */
    REAL *mean, *inv; /* [max(W, G)] */
    double *sum;      /* [max(W, 2 G, n_a * n_a)] */
    double *square;   /* [max(W, G)] */
    double *cov;      /* [n_a, n_a] */
    REAL *states;     /* [L, R, H] backward */
    REAL *du;         /* [R, W] backward */
    REAL *dstate;     /* [R, H] backward */
    REAL *dnext;      /* [R, H] backward */
    REAL *dprior;     /* [R, G] backward */
    REAL *plain;      /* [W, H] backward: a linear layer, not transposed */
    REAL *attend;     /* [G, n_a] backward: an attentive linear layer, not transposed */
    REAL *dattend;    /* [G, n_a] backward: its gradient */
    void *memory;
} Scratch;

/* Columns of z and prior: as many as whole vectors hold. */
INLINE int64_t padded(int64_t groups) { return (groups + 15) / 16 * 16; }

static int scratch_take(Scratch *w, const Shape *s, int64_t rows, int backward) {
    const int64_t H = s->n_d + s->n_a, W = 2 * H, G = s->groups, A = s->n_a, wide = largest(W, G) + 16, P = padded(G);
    const int64_t reals =
        rows * W + rows * H + rows * P + rows * A + TOGETHER * (3 * P + 16) + A * P + P + 2 * wide +
        (backward ? s->layers * rows * H + rows * W + 2 * rows * H + rows * G + W * H + 2 * G * A : 0);
    const int64_t doubles = largest(largest(W, 2 * G), A * A) + wide + A * A;
    const size_t bytes = (size_t)(doubles * 8 + (reals + 64) * sizeof(REAL) + TOGETHER * (P + 16) * 4 + 64);
    char *at = malloc(bytes);
    if (!at) return 0;
    w->memory = at;
#define TAKE(field, type, count) w->field = (type *)at, at += (count) * sizeof(type)
    TAKE(sum, double, largest(largest(W, 2 * G), A * A));
    TAKE(square, double, wide);
    TAKE(cov, double, A * A);
    TAKE(u, REAL, rows * W);
    TAKE(state, REAL, rows * H);
    TAKE(prior, REAL, rows * P);
    TAKE(attention, REAL, rows * A);
    TAKE(z, REAL, TOGETHER * P);
    TAKE(v, REAL, TOGETHER * (P + 16));
    TAKE(candidates, REAL, TOGETHER * P);
    TAKE(scaled, REAL, A * P);
    TAKE(shift, REAL, P);
    TAKE(mean, REAL, wide);
    TAKE(inv, REAL, wide);
    if (backward) {
        TAKE(states, REAL, s->layers * rows * H);
        TAKE(du, REAL, rows * W);
        TAKE(dstate, REAL, rows * H);
        TAKE(dnext, REAL, rows * H);
        TAKE(dprior, REAL, rows * G);
        TAKE(plain, REAL, W * H);
        TAKE(attend, REAL, G * A);
        TAKE(dattend, REAL, G * A);
    }
    TAKE(group, int32_t, TOGETHER * (P + 16));
#undef TAKE
    return 1;
}

/* Sums of COUNT vectors of columns of u [rows, width], or of squared distances from `mean`, added to out. */
#define SUMS(name, COUNT)                                                                                         \
    INLINE void name(const REAL *restrict u, const REAL *restrict mean, int64_t rows, int64_t width,              \
                     double *restrict out) {                                                                      \
        Vector sum[COUNT], from[COUNT];                                                                           \
        for (int j = 0; j < COUNT; j++) {                                                                         \
            sum[j] = (Vector){0};                                                                                 \
            from[j] = mean ? *(const Vector *)(mean + j * LANES) : sum[j];                                        \
        }                                                                                                         \
        for (int64_t r = 0; r < rows; r++)                                                                        \
            for (int j = 0; j < COUNT; j++) {                                                                     \
                const Vector v = *(const Vector *)(u + r * width + j * LANES), d = v - from[j];                   \
                if (mean)                                                                                         \
                    sum[j] += d * d;                                                                              \
                else                                                                                              \
                    sum[j] += v;                                                                                  \
            }                                                                                                     \
        for (int j = 0; j < COUNT; j++)                                                                           \
            for (int64_t i = 0; i < LANES; i++) out[j * LANES + i] += sum[j][i];                                  \
    }
SUMS(sums_2, 2)
SUMS(sums_1, 1)

/* Column sums of u [n, width], or of squared distances from `mean`, over the whole team. */
INLINE void column_sums(Team *team, const REAL *restrict u, const REAL *restrict mean, int64_t n, int64_t width,
                        double *restrict out) {
    for (int64_t i = 0; i < width; i++) out[i] = 0;
    for (int64_t start = 0; start < n; start += BLOCK) {
        const REAL *restrict rows = u + start * width;
        const int64_t count = n - start < BLOCK ? n - start : BLOCK;
        int64_t i = 0;
        for (; i + 2 * LANES <= width; i += 2 * LANES) sums_2(rows + i, mean ? mean + i : 0, count, width, out + i);
        for (; i + LANES <= width; i += LANES) sums_1(rows + i, mean ? mean + i : 0, count, width, out + i);
        for (; i < width; i++) {
            REAL sum = 0;
            for (int64_t r = 0; r < count; r++) {
                const REAL v = rows[r * width + i];
                sum += mean ? (v - mean[i]) * (v - mean[i]) : v;
            }
            out[i] += sum;
        }
    }
    team_sum(team, out, width);
}

typedef struct {
    int64_t chunk, chunks, lo, n, ghost; /* this thread's rows lo .. lo + n of a ghost batch of `ghost` rows */
    REAL *statistics;                    /* [2 * (T * L * W + S * G)] times chunks: means and unbiased variances */
} Part;

INLINE REAL *glu_statistics(const Shape *s, const Part *p, int64_t layer, int64_t W) {
    return p->statistics + (layer * p->chunks + p->chunk) * 2 * W;
}

INLINE REAL *attend_statistics(const Shape *s, const Part *p, int64_t step, int64_t W) {
    return p->statistics + (s->steps + 1) * s->layers * p->chunks * 2 * W + (step * p->chunks + p->chunk) * 2 * s->groups;
}

/* One feature transformer: from its first layer's linear outputs, which lie in u, to w->state. */
INLINE void transformer(const Shape *s, const Tape *a, Team *team, Scratch *w, const Part *p, int64_t t, REAL *u,
                        const int64_t W) {
    const int64_t H = W / 2, L = s->layers, n = p->n;
    const REAL root_half = (REAL)0.7071067690849304;
    for (int64_t l = 0; l < L; l++) {
        const int64_t layer = t * L + l;
        const REAL *weight = a->parameters + a->norm[layer], *bias = weight + W;
        if (l) {
            if (s->training) u = a->normed + (layer * s->rows + p->lo) * W;
            const REAL *linear = a->parameters + a->linear[layer];
            memset(u, 0, n * W * sizeof(REAL));
            rows_times(w->state, linear, u, n, H, W);
        }
        if (s->training) {
            column_sums(team, u, 0, n, W, w->sum);
            for (int64_t i = 0; i < W; i++) w->mean[i] = (REAL)(w->sum[i] / p->ghost);
            column_sums(team, u, w->mean, n, W, w->square);
            for (int64_t i = 0; i < W; i++) w->inv[i] = (REAL)(1 / sqrt(w->square[i] / p->ghost + EPS));
            if (team->rank == 0) {
                REAL *statistics = glu_statistics(s, p, layer, W);
                for (int64_t i = 0; i < W; i++) statistics[i] = (REAL)(w->sum[i] / p->ghost);
                for (int64_t i = 0; i < W; i++) statistics[W + i] = (REAL)(w->square[i] / (p->ghost - 1));
                memcpy(a->inverse + (layer * p->chunks + p->chunk) * W, w->inv, W * sizeof(REAL));
            }
        } else {
            memcpy(w->mean, a->running[2 * layer], W * sizeof(REAL));
            const REAL *variance = a->running[2 * layer + 1];
            for (int64_t i = 0; i < W; i++) w->inv[i] = (REAL)(1 / sqrt(variance[i] + EPS));
        }
        const REAL *restrict mean = w->mean, *restrict inv = w->inv;
        for (int64_t r = 0; r < n; r++) {
            REAL *restrict row = u + r * W, *restrict state = w->state + r * H;
            for (int64_t i = 0; i < W; i++) row[i] = (row[i] - mean[i]) * inv[i];
            REAL gate[H];
            for (int64_t i = 0; i < H; i++) gate[i] = 1 / (1 + exp_(-(row[H + i] * weight[H + i] + bias[H + i])));
            if (s->training) memcpy(a->gate + (layer * s->rows + p->lo + r) * H, gate, H * sizeof(REAL));
            if (l)
                for (int64_t i = 0; i < H; i++)
                    state[i] = (state[i] + (row[i] * weight[i] + bias[i]) * gate[i]) * root_half;
            else
                for (int64_t i = 0; i < H; i++) state[i] = (row[i] * weight[i] + bias[i]) * gate[i];
        }
    }
}

/* The attentive weights with the norm in them: z = shift + attention times scaled. Statistics of this ghost batch from
   the covariance of the attention, which is centred here; running ones in evaluation. */
INLINE void prepare_attention(const Shape *s, const Tape *a, Team *team, Scratch *w, const Part *p, int64_t step,
                              REAL *attention, const int64_t W, const int64_t A) {
    const int64_t G = s->groups, P = padded(G), n = p->n, norm = (s->steps + 1) * s->layers + step;
    const REAL *linear = a->parameters + a->attend[step];
    const REAL *weight = a->parameters + a->attend_norm[step], *bias = weight + G;
    const double grown = pow(s->gamma, (double)step);
    if (s->training) {
        for (int64_t k = 0; k < A; k++) w->sum[k] = 0;
        for (int64_t r = 0; r < n; r++)
            for (int64_t k = 0; k < A; k++) w->sum[k] += attention[r * A + k];
        team_sum(team, w->sum, A);
        for (int64_t k = 0; k < A; k++) w->sum[k] /= p->ghost;
        for (int64_t g = 0; g < G; g++) w->square[g] = 0;
        for (int64_t k = 0; k < A; k++)
            for (int64_t g = 0; g < G; g++) w->square[g] += w->sum[k] * linear[k * G + g];
        for (int64_t g = 0; g < G; g++) w->mean[g] = (REAL)w->square[g];
        for (int64_t r = 0; r < n; r++)
            for (int64_t k = 0; k < A; k++) attention[r * A + k] = (REAL)(attention[r * A + k] - w->sum[k]);
        for (int64_t i = 0; i < A * A; i++) w->cov[i] = 0;
        for (int64_t r = 0; r < n; r++)
            for (int64_t k = 0; k < A; k++) {
                const double v = attention[r * A + k];
                for (int64_t m = 0; m < A; m++) w->cov[k * A + m] += v * attention[r * A + m];
            }
        team_sum(team, w->cov, A * A);
        for (int64_t i = 0; i < A * A; i++) w->cov[i] /= p->ghost;
        for (int64_t g = 0; g < G; g++) w->square[g] = 0;
        for (int64_t k = 0; k < A; k++) {
            for (int64_t g = 0; g < G; g++) w->sum[g] = w->cov[k * A + k] * linear[k * G + g];
            for (int64_t m = 0; m < k; m++)
                for (int64_t g = 0; g < G; g++) w->sum[g] += 2 * w->cov[k * A + m] * linear[m * G + g];
            for (int64_t g = 0; g < G; g++) w->square[g] += w->sum[g] * linear[k * G + g];
        }
        for (int64_t g = 0; g < G; g++) w->square[g] = w->square[g] > 0 ? w->square[g] : 0;
        for (int64_t g = 0; g < G; g++) w->inv[g] = (REAL)(1 / sqrt(w->square[g] + EPS));
        if (team->rank == 0) {
            REAL *statistics = attend_statistics(s, p, step, W);
            memcpy(statistics, w->mean, G * sizeof(REAL));
            for (int64_t g = 0; g < G; g++) statistics[G + g] = (REAL)(w->square[g] * p->ghost / (p->ghost - 1));
            memcpy(a->attend_inverse + (step * p->chunks + p->chunk) * G, w->inv, G * sizeof(REAL));
            memcpy(a->covariance + (step * p->chunks + p->chunk) * A * A, w->cov, A * A * sizeof(double));
        }
        for (int64_t g = 0; g < G; g++) w->shift[g] = (REAL)(bias[g] * grown);
    } else {
        const REAL *mean = a->running[2 * norm], *variance = a->running[2 * norm + 1];
        for (int64_t g = 0; g < G; g++) w->inv[g] = (REAL)(1 / sqrt(variance[g] + EPS));
        for (int64_t g = 0; g < G; g++) w->shift[g] = (REAL)((bias[g] - mean[g] * w->inv[g] * weight[g]) * grown);
    }
    for (int64_t g = 0; g < G; g++) w->mean[g] = (REAL)(w->inv[g] * weight[g] * grown);
    for (int64_t k = 0; k < A; k++) {
        for (int64_t g = 0; g < G; g++) w->scaled[k * P + g] = linear[k * G + g] * w->mean[g];
        for (int64_t g = G; g < P; g++) w->scaled[k * P + g] = 0;
    }
    for (int64_t g = G; g < P; g++) w->shift[g] = -INFINITY;
}

/* One ghost batch, or this thread's rows of it. Adds to *entropy; *most becomes the largest support if that is more. */
INLINE void forward_part(const Shape *s, const Tape *a, Team *team, Scratch *w, const Part *p, double *entropy,
                         int64_t *most, const int64_t W, const int64_t A) {
    const int64_t B = s->rows, D = s->columns, G = s->groups, P = padded(G), H = W / 2, L = s->layers, K = s->capacity;
    const int64_t n = p->n, lo = p->lo;
    const REAL share = (REAL)(1 / s->gamma), epsilon = (REAL)s->epsilon;
    REAL *u = s->training ? a->normed + lo * W : w->u;
    memcpy(u, a->first + lo * W, n * W * sizeof(REAL));
    transformer(s, a, team, w, p, 0, u, W);
    for (int64_t i = 0; i < n * P; i++) w->prior[i] = 1;
    if (a->prior)
        for (int64_t r = 0; r < n; r++) memcpy(w->prior + r * P, a->prior + (lo + r) * G, G * sizeof(REAL));
    double grown = 1;
    for (int64_t step = 0; step < s->steps; step++, grown *= s->gamma) {
        const int64_t t = step + 1;
        const REAL power = (REAL)grown;
        REAL *attention = s->training ? a->attention + (step * B + lo) * A : w->attention;
        for (int64_t r = 0; r < n; r++) memcpy(attention + r * A, w->state + r * H + H - A, A * sizeof(REAL));
        prepare_attention(s, a, team, w, p, step, attention, W, A);
        u = s->training ? a->normed + (t * L * B + lo) * W : w->u;
        const REAL *linear = a->parameters + a->linear[t * L];
        for (int64_t start = 0; start < n; start += TOGETHER) {
            const int64_t count = n - start < TOGETHER ? n - start : TOGETHER;
            int64_t sizes[TOGETHER];
            for (int64_t r = 0; r < count; r++) memcpy(w->z + r * P, w->shift, P * sizeof(REAL));
            rows_times(attention + start * A, w->scaled, w->z, count, A, P);
            for (int64_t i = 0; i < count * P; i++) w->z[i] *= w->prior[start * P + i];
            find_supports(w->z, count, P, (int)s->entmax, w->candidates, w->group, w->v, sizes);
            for (int64_t r = 0; r < count; r++) {
                const int64_t row = lo + start + r, size = sizes[r];
                REAL *restrict prior = w->prior + (start + r) * P;
                const int32_t *restrict group = w->group + r * (P + 16);
                const REAL *restrict v = w->v + r * (P + 16);
                if (size > *most) *most = size;
                /* a row's few columns lie far apart: fetch them all at once */
                for (int64_t e = 0; e < size; e++)
                    __builtin_prefetch(a->x + row * D + a->group_column[a->group_start[group[e]]]);
                for (int64_t from = 0; from < size; from += 8) {
                    REAL sum = 0;
#pragma omp simd reduction(+ : sum)
                    for (int64_t e = from; e < from + 8; e++) sum += v[e] * log_(v[e] + epsilon);
                    *entropy += sum;
                }
                for (int64_t e = 0; e < size; e++) {
                    const int32_t g = group[e];
                    if (s->training && e < K) {
                        const int64_t at = (step * B + row) * K + e;
                        a->support[at] = g;
                        a->mask[at] = v[e];
                        a->support_prior[at] = prior[g] * power;
                    }
                    prior[g] *= 1 - v[e] * share;
                }
                if (s->training) a->support_size[step * B + row] = (int32_t)(size < 0 ? 0 : size < K ? size : K);
            }
            for (int64_t r = 0; r < count; r++) {
                const REAL *x = a->x + (lo + start + r) * D;
                REAL *restrict out = u + (start + r) * W;
                for (int64_t i = 0; i < W; i++) out[i] = sizes[r] < 0 ? (REAL)NAN : 0; /* NaN in, NaN out */
                for (int64_t e = 0; e < sizes[r]; e++) {
                    const int32_t g = w->group[r * (P + 16) + e];
                    for (int64_t j = a->group_start[g]; j < a->group_start[g + 1]; j++) {
                        const int32_t column = a->group_column[j];
                        axpy(w->v[r * (P + 16) + e] * a->group_share[j] * x[column], linear + column * W, out, W);
                    }
                }
            }
        }
        transformer(s, a, team, w, p, t, u, W);
        for (int64_t r = 0; r < n; r++) {
            REAL *restrict d = a->decisions + (step * B + lo + r) * (H - A);
            const REAL *restrict state = w->state + r * H;
            for (int64_t i = 0; i < H - A; i++) d[i] = state[i] > 0 ? state[i] : state[i] * 0;
        }
    }
}

/* ------------------------------------------------------------------------------------------------- backward */

/* Sums of COUNT vectors of columns of dy [rows, width], and of their products with those of y, added to both outputs. */
#define PRODUCTS(name, COUNT)                                                                                     \
    INLINE void name(const REAL *restrict dy, const REAL *restrict y, int64_t rows, int64_t width,                \
                     double *restrict sums, double *restrict products) {                                          \
        Vector sum[COUNT], product[COUNT];                                                                        \
        for (int j = 0; j < COUNT; j++) sum[j] = product[j] = (Vector){0};                                        \
        for (int64_t r = 0; r < rows; r++)                                                                        \
            for (int j = 0; j < COUNT; j++) {                                                                     \
                const Vector d = *(const Vector *)(dy + r * width + j * LANES);                                   \
                sum[j] += d;                                                                                      \
                product[j] += d * *(const Vector *)(y + r * width + j * LANES);                                   \
            }                                                                                                     \
        for (int j = 0; j < COUNT; j++)                                                                           \
            for (int64_t i = 0; i < LANES; i++) {                                                                 \
                sums[j * LANES + i] += sum[j][i];                                                                 \
                products[j * LANES + i] += product[j][i];                                                         \
            }                                                                                                     \
    }
PRODUCTS(products_2, 2)
PRODUCTS(products_1, 1)

/* The same of all columns of at most BLOCK rows. */
INLINE void add_products(const REAL *restrict dy, const REAL *restrict y, int64_t rows, int64_t width,
                         double *restrict sums, double *restrict products) {
    int64_t i = 0;
    for (; i + 2 * LANES <= width; i += 2 * LANES) products_2(dy + i, y + i, rows, width, sums + i, products + i);
    for (; i + LANES <= width; i += LANES) products_1(dy + i, y + i, rows, width, sums + i, products + i);
    for (; i < width; i++) {
        REAL sum = 0, product = 0;
        for (int64_t r = 0; r < rows; r++) sum += dy[r * width + i], product += dy[r * width + i] * y[r * width + i];
        sums[i] += sum, products[i] += product;
    }
}

/* Through one feature transformer: from w->dstate to w->du, the gradient of its first layer's linear outputs. */
INLINE void transformer_backward(const Shape *s, const Tape *a, Team *team, Scratch *w, const Part *p, int64_t t,
                                 REAL *restrict gradient, const int64_t W) {
    const int64_t H = W / 2, L = s->layers, n = p->n;
    const REAL root_half = (REAL)0.7071067690849304;
    for (int64_t l = 0; l + 1 < L; l++) { /* the layers' outputs again: cheaper than to keep them */
        const int64_t layer = t * L + l;
        const REAL *weight = a->parameters + a->norm[layer], *bias = weight + W;
        for (int64_t r = 0; r < n; r++) {
            const REAL *restrict row = a->normed + (layer * s->rows + p->lo + r) * W;
            const REAL *restrict gate = a->gate + (layer * s->rows + p->lo + r) * H;
            REAL *restrict out = w->states + (l * n + r) * H;
            if (l) {
                const REAL *restrict before = w->states + ((l - 1) * n + r) * H;
                for (int64_t i = 0; i < H; i++)
                    out[i] = (before[i] + (row[i] * weight[i] + bias[i]) * gate[i]) * root_half;
            } else
                for (int64_t i = 0; i < H; i++) out[i] = (row[i] * weight[i] + bias[i]) * gate[i];
        }
    }
    for (int64_t l = L - 1; l >= 0; l--) {
        const int64_t layer = t * L + l;
        const REAL *weight = a->parameters + a->norm[layer], *bias = weight + W;
        const REAL *normed = a->normed + (layer * s->rows + p->lo) * W;
        const REAL *inv = a->inverse + (layer * p->chunks + p->chunk) * W;
        for (int64_t i = 0; i < W; i++) w->sum[i] = 0;
        for (int64_t i = 0; i < W; i++) w->square[i] = 0;
        for (int64_t start = 0; start < n; start += BLOCK) {
            const int64_t stop = start + BLOCK < n ? start + BLOCK : n;
            for (int64_t r = start; r < stop; r++) {
                const REAL *restrict row = normed + r * W;
                const REAL *restrict gate = a->gate + (layer * s->rows + p->lo + r) * H;
                REAL *restrict dstate = w->dstate + r * H, *restrict dy = w->du + r * W;
                if (l)
                    for (int64_t i = 0; i < H; i++) dstate[i] *= root_half;
                for (int64_t i = 0; i < H; i++) {
                    dy[i] = dstate[i] * gate[i];
                    dy[H + i] = dstate[i] * (row[i] * weight[i] + bias[i]) * gate[i] * (1 - gate[i]);
                }
            }
            add_products(w->du + start * W, normed + start * W, stop - start, W, w->sum, w->square);
        }
        REAL *dweight = gradient + a->norm[layer], *dbias = dweight + W;
        for (int64_t i = 0; i < W; i++) dweight[i] += (REAL)w->square[i];
        for (int64_t i = 0; i < W; i++) dbias[i] += (REAL)w->sum[i];
        team_sum(team, w->sum, W);
        team_sum(team, w->square, W);
        REAL scale[W], mean[W], slope[W];
        for (int64_t i = 0; i < W; i++) scale[i] = weight[i] * inv[i];
        for (int64_t i = 0; i < W; i++) mean[i] = (REAL)(w->sum[i] / p->ghost);
        for (int64_t i = 0; i < W; i++) slope[i] = (REAL)(w->square[i] / p->ghost);
        for (int64_t r = 0; r < n; r++) {
            const REAL *restrict row = normed + r * W;
            REAL *restrict du = w->du + r * W;
            for (int64_t i = 0; i < W; i++) du[i] = scale[i] * (du[i] - mean[i] - row[i] * slope[i]);
        }
        if (!l) break;
        const REAL *linear = a->parameters + a->linear[layer];
        for (int64_t i = 0; i < W; i++)
            for (int64_t k = 0; k < H; k++) w->plain[i * H + k] = linear[k * W + i];
        add_outer(w->states + (l - 1) * n * H, w->du, gradient + a->linear[layer], n, H, W);
        rows_times(w->du, w->plain, w->dstate, n, W, H);
    }
}

/* Through one step's mask: from w->du, the gradient of the masked columns' linear outputs, to that of the attention, in
   w->dnext [R, n_a]; w->dprior holds the gradient of a step's prior divided by gamma^(steps after it). */
INLINE void attention_backward(const Shape *s, const Tape *a, Team *team, Scratch *w, const Part *p, int64_t step,
                               const Gradient *gradient, REAL *restrict dparameters, const int64_t W, const int64_t A) {
    const int64_t B = s->rows, D = s->columns, G = s->groups, L = s->layers, K = s->capacity, n = p->n;
    const REAL *first = a->parameters + a->linear[(step + 1) * L];
    REAL *dfirst = dparameters + a->linear[(step + 1) * L];
    const REAL *linear = a->parameters + a->attend[step];
    const REAL *weight = a->parameters + a->attend_norm[step], *bias = weight + G;
    const REAL *inv = a->attend_inverse + (step * p->chunks + p->chunk) * G;
    REAL *dlinear = dparameters + a->attend[step];
    REAL *restrict attend = w->attend, *restrict dattend = w->dattend;
    const double powers = pow(s->gamma, (double)(s->steps - 1 - step));
    const REAL less = (REAL)(powers / s->gamma), later = (REAL)(1 / powers), share = (REAL)(1 / s->gamma);
    const REAL dentropy = (REAL)gradient->entropy, epsilon = (REAL)s->epsilon;
    double *sum = w->sum, *product = w->sum + G;
    for (int64_t g = 0; g < 2 * G; g++) sum[g] = 0;
    for (int64_t g = 0; g < G; g++)
        for (int64_t k = 0; k < A; k++) attend[g * A + k] = linear[k * G + g];
    memset(dattend, 0, G * A * sizeof(REAL));
    for (int64_t r = 0; r < n; r++) {
        const int64_t row = p->lo + r, size = a->support_size[step * B + row];
        const int32_t *group = a->support + (step * B + row) * K;
        const REAL *mask = a->mask + (step * B + row) * K, *prior = a->support_prior + (step * B + row) * K;
        const REAL *restrict attention = a->attention + (step * B + row) * A;
        const REAL *x = a->x + row * D, *du = w->du + r * W;
        REAL *dprior = w->dprior + r * G, *dx = gradient->x ? gradient->x + row * D : 0, *restrict dz = w->z;
        if (r + AHEAD < n) {
            const int64_t next = step * B + row + AHEAD;
            for (int64_t e = 0; e < a->support_size[next]; e++) {
                const int32_t column = a->group_column[a->group_start[a->support[next * K + e]]];
                __builtin_prefetch(x + AHEAD * D + column);
                if (dx) __builtin_prefetch(dx + AHEAD * D + column, 1);
            }
        }
        for (int64_t from = 0; from < size; from += 8) /* K is a multiple of 8 */
            for (int64_t e = from; e < from + 8; e++)
                dz[e] = dentropy * (log_(mask[e] + epsilon) + mask[e] / (mask[e] + epsilon));
        REAL total = 0, roots = 0;
        for (int64_t e = 0; e < size; e++) {
            const int32_t g = group[e];
            const REAL m = mask[e];
            REAL dm = dz[e] - prior[e] * dprior[g] * less;
            for (int64_t j = a->group_start[g]; j < a->group_start[g + 1]; j++) {
                const int32_t column = a->group_column[j];
                const REAL through = a->group_share[j] * dot(du, first + column * W, W);
                dm += through * x[column];
                if (dx) dx[column] += through * m;
                axpy(m * a->group_share[j] * x[column], du, dfirst + column * W, W);
            }
            dz[e] = dm;
            if (s->entmax) {
                const REAL root = sizeof(REAL) == 8 ? sqrt(m) : sqrtf(m);
                total += dm * root, roots += root;
            } else
                total += dm, roots += 1;
        }
        total /= roots;
        REAL dattention[A];
        for (int64_t k = 0; k < A; k++) dattention[k] = 0;
        for (int64_t e = 0; e < size; e++) {
            const int32_t g = group[e];
            const REAL m = mask[e];
            const REAL *restrict turned = attend + g * A;
            REAL *restrict dturned = dattend + g * A;
            REAL d = dz[e] - total;
            if (s->entmax) d *= sizeof(REAL) == 8 ? sqrt(m) : sqrtf(m);
            const REAL normed = dot(attention, turned, A) * inv[g];
            dprior[g] = (1 - m * share) * dprior[g] + d * (normed * weight[g] + bias[g]) * later;
            const REAL dy = d * prior[e], scaled = dy * weight[g] * inv[g];
            sum[g] += dy;
            product[g] += dy * normed;
            for (int64_t k = 0; k < A; k++) {
                dattention[k] += scaled * turned[k];
                dturned[k] += scaled * attention[k];
            }
        }
        for (int64_t k = 0; k < A; k++) w->dnext[r * A + k] = dattention[k];
    }
    for (int64_t k = 0; k < A; k++)
        for (int64_t g = 0; g < G; g++) dlinear[k * G + g] += dattend[g * A + k];
    REAL *dweight = dparameters + a->attend_norm[step], *dbias = dweight + G;
    for (int64_t g = 0; g < G; g++) dweight[g] += (REAL)product[g];
    for (int64_t g = 0; g < G; g++) dbias[g] += (REAL)sum[g];
    team_sum(team, sum, 2 * G);
    /* The dense rest of the norm's gradient, weight * inv * -(mean(dy) + normed * mean(dy * normed)), in n_a numbers. */
    const double *cov = a->covariance + (step * p->chunks + p->chunk) * A * A;
    double *restrict slope = product;
    for (int64_t g = 0; g < G; g++) sum[g] *= (double)weight[g] * inv[g] / p->ghost;
    for (int64_t g = 0; g < G; g++) slope[g] *= (double)weight[g] * inv[g] * inv[g] / p->ghost;
    REAL turned[A * A], constant[A];
    for (int64_t k = 0; k < A; k++) {
        double total = 0;
        for (int64_t g = 0; g < G; g++) total += sum[g] * linear[k * G + g];
        constant[k] = (REAL)total;
        for (int64_t m = 0; m <= k; m++) {
            double both = 0;
#pragma omp simd reduction(+ : both)
            for (int64_t g = 0; g < G; g++) both += slope[g] * linear[k * G + g] * linear[m * G + g];
            turned[k * A + m] = turned[m * A + k] = (REAL)both;
        }
    }
    for (int64_t r = 0; r < n; r++) {
        const REAL *attention = a->attention + (step * B + p->lo + r) * A;
        REAL *restrict dattention = w->dnext + r * A;
        REAL less[A];
        for (int64_t k = 0; k < A; k++) less[k] = constant[k];
        for (int64_t m = 0; m < A; m++)
            for (int64_t k = 0; k < A; k++) less[k] += attention[m] * turned[m * A + k];
        for (int64_t k = 0; k < A; k++) dattention[k] -= less[k];
    }
    if (team->rank == 0)
        for (int64_t k = 0; k < A; k++)
            for (int64_t m = 0; m < A; m++) {
                const double c = cov[k * A + m] * p->ghost;
                for (int64_t g = 0; g < G; g++) dlinear[k * G + g] -= (REAL)(slope[g] * c * linear[m * G + g]);
            }
}

INLINE void backward_part(const Shape *s, const Tape *a, Team *team, Scratch *w, const Part *p, const Gradient *gradient,
                          REAL *dparameters, const int64_t W, const int64_t A) {
    const int64_t B = s->rows, H = W / 2, n = p->n;
    memset(w->dprior, 0, n * s->groups * sizeof(REAL));
    for (int64_t step = s->steps; step >= 0; step--) { /* transformer number `step` gives attention to step `step` */
        for (int64_t r = 0; r < n; r++) {
            REAL *restrict d = w->dstate + r * H;
            const int64_t at = ((step - 1) * B + p->lo + r) * (H - A);
            for (int64_t i = 0; i < H; i++) d[i] = 0;
            if (step) {
                const REAL *restrict decision = a->decisions + at, *restrict wanted = gradient->decisions + at;
                for (int64_t i = 0; i < H - A; i++) d[i] = decision[i] > 0 ? wanted[i] : 0;
            }
            if (step < s->steps) memcpy(d + H - A, w->dnext + r * A, A * sizeof(REAL));
        }
        transformer_backward(s, a, team, w, p, step, dparameters, W);
        if (step) attention_backward(s, a, team, w, p, step - 1, gradient, dparameters, W, A);
    }
    memcpy(gradient->first + p->lo * W, w->du, n * W * sizeof(REAL));
}

/* --------------------------------------------------------------------------------------------------- doors */

/* Common widths, n_d and n_a alike, get code of their own, in which the compiler knows them. */
#define BY_WIDTH(call)                                                     \
    switch (s->n_d == s->n_a ? s->n_a : 0) {                               \
        case 4: call(16, 4); break;                                        \
        case 8: call(32, 8); break;                                        \
        case 16: call(64, 16); break;                                      \
        case 32: call(128, 32); break;                                     \
        default: call(2 * (s->n_d + s->n_a), s->n_a);                      \
    }

static __attribute__((noinline)) void forward_width(const Shape *s, const Tape *a, Team *team, Scratch *w, const Part *p,
                                                    double *entropy, int64_t *most) {
#define CALL(W, A) forward_part(s, a, team, w, p, entropy, most, W, A)
    BY_WIDTH(CALL)
#undef CALL
}

static __attribute__((noinline)) void backward_width(const Shape *s, const Tape *a, Team *team, Scratch *w,
                                                     const Part *p, const Gradient *gradient, REAL *dparameters) {
#define CALL(W, A) backward_part(s, a, team, w, p, gradient, dparameters, W, A)
    BY_WIDTH(CALL)
#undef CALL
}

/* Run over all ghost batches; a null gradient runs forward. Returns 0, or -1 if memory ran out. */
static int run(const Shape *s, const Tape *a, const Gradient *gradient, REAL *statistics, double *entropies,
               int64_t *mosts) {
    const int64_t ghost = s->training ? s->ghost_rows : EVAL_ROWS;
    const int64_t chunks = (s->rows + ghost - 1) / ghost, H = s->n_d + s->n_a;
    const int64_t width = largest(largest(2 * H, 2 * s->groups), s->n_a * s->n_a);
    double *slots = malloc((size_t)(2 * s->threads * width) * sizeof(double));
    int failed = !slots;
    if (failed) return -1;
#ifdef _OPENMP
#pragma omp parallel num_threads((int)s->threads)
#endif
    {
        int rank = 0, size = 1;
#ifdef _OPENMP
        rank = omp_get_thread_num(), size = omp_get_num_threads();
#endif
        const int together = s->training && chunks < size;
        Team team = {together ? size : 1, together ? rank : 0, 0, width, slots};
        Scratch w;
        w.memory = 0;
        const int ready = scratch_take(&w, s, together ? ghost / size + 1 : ghost, gradient != 0);
        if (!ready) {
#ifdef _OPENMP
#pragma omp atomic write
#endif
            failed = 1;
        }
#ifdef _OPENMP
#pragma omp barrier
#endif
        int stop;
#ifdef _OPENMP
#pragma omp atomic read
#endif
        stop = failed;
        for (int64_t chunk = together ? 0 : rank; chunk < chunks && !stop; chunk += together ? 1 : size) {
            const int64_t start = chunk * ghost, rows = s->rows - start < ghost ? s->rows - start : ghost;
            const int64_t lo = rows * team.rank / team.size, hi = rows * (team.rank + 1) / team.size;
            Part p = {chunk, chunks, start + lo, hi - lo, rows, statistics};
            if (gradient)
                backward_width(s, a, &team, &w, &p, gradient, gradient->parameters + rank * gradient->num_parameters);
            else
                forward_width(s, a, &team, &w, &p, entropies + rank, mosts + rank);
        }
        free(w.memory);
    }
    free(slots);
    return failed ? -1 : 0;
}

/* Returns the largest support of a row; if that is more than the capacity, nothing but scratch has been written and the
   call must be made again with more. -1 if memory ran out. */
int64_t tabnet_forward(const Shape *s, const Tape *a) {
    const int64_t W = 2 * (s->n_d + s->n_a), layers = (s->steps + 1) * s->layers;
    const int64_t chunks = s->training ? (s->rows + s->ghost_rows - 1) / s->ghost_rows : 0;
    REAL *statistics = malloc((size_t)(chunks * 2 * (layers * W + s->steps * s->groups) + 1) * sizeof(REAL));
    double *entropies = calloc((size_t)s->threads * 8, sizeof(double));
    int64_t *mosts = calloc((size_t)s->threads, sizeof(int64_t)), most = -1;
    if (statistics && entropies && mosts && run(s, a, 0, statistics, entropies, mosts) == 0) {
        most = 0;
        *a->entropy = 0;
        for (int64_t i = 0; i < s->threads; i++) {
            most = largest(most, mosts[i]);
            *a->entropy += entropies[i];
        }
    }
    if (s->training && most >= 0 && most <= s->capacity) /* running statistics follow the ghost batches in turn */
        for (int64_t norm = 0; norm < layers + s->steps; norm++) {
            const int64_t width = norm < layers ? W : s->groups;
            const REAL *statistic =
                norm < layers ? statistics + norm * chunks * 2 * W
                              : statistics + layers * chunks * 2 * W + (norm - layers) * chunks * 2 * s->groups;
            for (int64_t which = 0; which < 2; which++)
                for (int64_t i = 0; i < width; i++) {
                    double running = a->running[2 * norm + which][i]; /* rounded once, after the last ghost batch */
                    for (int64_t chunk = 0; chunk < chunks; chunk++)
                        running += s->momentum * (statistic[(2 * chunk + which) * width + i] - running);
                    a->running[2 * norm + which][i] = (REAL)running;
                }
        }
    free(statistics), free(entropies), free(mosts);
    return most;
}

int64_t tabnet_backward(const Shape *s, const Tape *a, const Gradient *gradient) { return run(s, a, gradient, 0, 0, 0); }

/* Parameters [outputs, inputs], or [outputs] where `inputs` is 0, to one flat array, the former transposed. */
void tabnet_pack(int64_t count, const int64_t *outputs, const int64_t *inputs, const REAL *const *parameters,
                 REAL *restrict flat) {
    for (int64_t p = 0; p < count; p++) {
        const int64_t O = outputs[p], I = largest(inputs[p], 1);
        for (int64_t k = 0; k < I; k++)
            for (int64_t i = 0; i < O; i++) flat[k * O + i] = parameters[p][i * I + k];
        flat += O * I;
    }
}

/* The other way round, of the sum of `copies` flat arrays, to the parameters one after another. */
void tabnet_unpack(int64_t count, const int64_t *outputs, const int64_t *inputs, int64_t copies, int64_t size,
                   const REAL *restrict flat, REAL *restrict parameters) {
    for (int64_t p = 0; p < count; p++) {
        const int64_t O = outputs[p], I = largest(inputs[p], 1);
        for (int64_t i = 0; i < O; i++)
            for (int64_t k = 0; k < I; k++) {
                REAL sum = 0;
                for (int64_t c = 0; c < copies; c++) sum += flat[c * size + k * O + i];
                parameters[i * I + k] = sum;
            }
        flat += O * I, parameters += O * I;
    }
}
