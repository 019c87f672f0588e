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

#ifndef REAL
#define REAL float
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

/* exp for the gates: in float a polynomial that the compiler vectorises, good to 2 units in the last place. */
INLINE REAL exp_(REAL x) {
    if (sizeof(REAL) == 8) return (REAL)exp((double)x);
    float v = (float)x;
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
    return (REAL)(p * scale.f);
}

INLINE void axpy(REAL a, const REAL *restrict x, REAL *restrict y, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] += a * x[i];
}

/* y [rows, n] += a [rows, m] times matrix [m, n]; four rows and four of m at a time, so that loads are shared. */
INLINE void rows_times(const REAL *restrict a, const REAL *restrict matrix, REAL *restrict y, int64_t rows, int64_t m,
                       int64_t n) {
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) {
        const REAL *restrict b = a + r * m;
        REAL *restrict out = y + r * n;
        int64_t k = 0;
        for (; k + 4 <= m; k += 4) {
            const REAL *restrict w = matrix + k * n;
            const REAL *restrict c = b + k;
            const REAL a00 = c[0], a01 = c[1], a02 = c[2], a03 = c[3];
            const REAL a10 = c[m], a11 = c[m + 1], a12 = c[m + 2], a13 = c[m + 3];
            const REAL a20 = c[2 * m], a21 = c[2 * m + 1], a22 = c[2 * m + 2], a23 = c[2 * m + 3];
            const REAL a30 = c[3 * m], a31 = c[3 * m + 1], a32 = c[3 * m + 2], a33 = c[3 * m + 3];
            for (int64_t i = 0; i < n; i++) {
                const REAL w0 = w[i], w1 = w[n + i], w2 = w[2 * n + i], w3 = w[3 * n + i];
                out[i] += a00 * w0 + a01 * w1 + a02 * w2 + a03 * w3;
                out[n + i] += a10 * w0 + a11 * w1 + a12 * w2 + a13 * w3;
                out[2 * n + i] += a20 * w0 + a21 * w1 + a22 * w2 + a23 * w3;
                out[3 * n + i] += a30 * w0 + a31 * w1 + a32 * w2 + a33 * w3;
            }
        }
        for (; k < m; k++)
            for (int64_t j = 0; j < 4; j++) axpy(b[j * m + k], matrix + k * n, out + j * n, n);
    }
    for (; r < rows; r++)
        for (int64_t k = 0; k < m; k++) axpy(a[r * m + k], matrix + k * n, y + r * n, n);
}

/* matrix [m, n] += outer products of the rows of a [rows, m] and b [rows, n] */
INLINE void add_outer(const REAL *restrict a, const REAL *restrict b, REAL *restrict matrix, int64_t rows, int64_t m,
                      int64_t n) {
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4)
        for (int64_t k = 0; k < m; k++) {
            const REAL *restrict v = b + r * n;
            const REAL a0 = a[r * m + k], a1 = a[(r + 1) * m + k], a2 = a[(r + 2) * m + k], a3 = a[(r + 3) * m + k];
            REAL *restrict y = matrix + k * n;
            for (int64_t i = 0; i < n; i++) y[i] += a0 * v[i] + a1 * v[n + i] + a2 * v[2 * n + i] + a3 * v[3 * n + i];
        }
    for (; r < rows; r++)
        for (int64_t k = 0; k < m; k++) axpy(a[r * m + k], b + r * n, matrix + k * n, n);
}

INLINE REAL dot(const REAL *restrict a, const REAL *restrict b, int64_t n) {
    REAL sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* ---------------------------------------------------------------------------------------------------------- masks */

/* The threshold of sparsemax on `n` candidates less their maximum (in place: only those above it are kept, with their
   groups); Newton's steps from the left leave out what cannot belong, until nothing leaves. */
INLINE REAL sparsemax_threshold(REAL *restrict v, int32_t *restrict group, int64_t *n) {
    REAL tau = -1;
    int64_t size = *n;
    for (;;) {
        REAL sum = 0;
        for (int64_t i = 0; i < size; i++) sum += v[i];
        tau = (sum - 1) / size;
        int64_t kept = 0;
        for (int64_t i = 0; i < size; i++) {
            v[kept] = v[i], group[kept] = group[i];
            kept += v[i] > tau;
        }
        if (kept == size || kept == 0) break;
        size = kept;
    }
    *n = size;
    return tau;
}

/* The same for 1.5-entmax, on half the candidates' distances from their maximum: Newton near the root, then the root of
   the quadratic on the elements known by then. */
INLINE REAL entmax_threshold(REAL *restrict v, int32_t *restrict group, int64_t *n) {
    const REAL near_ = sizeof(REAL) == 8 ? 1e-8 : 3e-4;
    REAL tau = -1;
    int64_t size = *n;
    for (int round = 0; round < 100; round++) {
        REAL sum = 0, squares = 0;
        for (int64_t i = 0; i < size; i++) {
            REAL above = v[i] > tau ? v[i] - tau : 0;
            sum += above;
            squares += above * above;
        }
        REAL step = (squares - 1) / (2 * sum);
        tau += step;
        if (step <= near_) break;
    }
    int64_t kept = 0;
    double mean = 0, spread = 0;
    for (int64_t i = 0; i < size; i++) {
        v[kept] = v[i], group[kept] = group[i];
        kept += v[i] > tau;
    }
    for (int64_t i = 0; i < kept; i++) mean += v[i];
    mean /= kept;
    for (int64_t i = 0; i < kept; i++) spread += (v[i] - mean) * (v[i] - mean);
    tau = (REAL)(mean - sqrt(fmax(1 - spread, 0) / kept));
    size = kept, kept = 0;
    for (int64_t i = 0; i < size; i++) {
        v[kept] = v[i], group[kept] = group[i];
        kept += v[i] > tau;
    }
    *n = kept;
    return tau;
}

/* The support of the mask on z [G]: groups, mask values in v; their number. -1 if z holds no finite maximum. */
INLINE int64_t find_support(const REAL *restrict z, int64_t G, int entmax, int32_t *restrict group, REAL *restrict v) {
    REAL top = -INFINITY;
#pragma omp simd reduction(max : top)
    for (int64_t g = 0; g < G; g++) top = z[g] > top ? z[g] : top;
    if (!(top > -INFINITY && top < INFINITY)) return -1;
    const REAL least = entmax ? -2 : -1; /* below the top, which itself always passes, however large it is */
    int64_t n = 0, g = 0;
    for (; g + 16 <= G; g += 16) {
        int any = 0;
#pragma omp simd reduction(+ : any)
        for (int i = 0; i < 16; i++) any += z[g + i] - top > least;
        if (!any) continue;
        for (int i = 0; i < 16; i++) {
            group[n] = (int32_t)(g + i), v[n] = z[g + i] - top;
            n += z[g + i] - top > least;
        }
    }
    for (; g < G; g++) {
        group[n] = (int32_t)g, v[n] = z[g] - top;
        n += z[g] - top > least;
    }
    if (entmax) {
        for (int64_t i = 0; i < n; i++) v[i] /= 2;
        REAL tau = entmax_threshold(v, group, &n);
        for (int64_t i = 0; i < n; i++) v[i] = (v[i] - tau) * (v[i] - tau);
    } else {
        REAL tau = sparsemax_threshold(v, group, &n);
        for (int64_t i = 0; i < n; i++) v[i] -= tau;
    }
    return n;
}

/* ------------------------------------------------------------------------------------------------- forward */

typedef struct {
    REAL *u;          /* [R, W] evaluation only: a layer's linear outputs */
    REAL *state;      /* [R, H] a transformer's running value */
    REAL *prior;      /* [R, G] divided by gamma^step */
    REAL *attention;  /* [R, n_a] evaluation only */
    REAL *z;          /* [TOGETHER, G] */
    REAL *v;          /* [TOGETHER, G + 16] */
    int32_t *group;   /* [TOGETHER, G + 16] */
    REAL *scaled;     /* [n_a, G] attentive weights with the norm and the prior's gamma^step in them */
    REAL *shift;      /* [G] */
    REAL *mean, *inv; /* [max(W, G)] */
    REAL *block;      /* [max(W, G)] */
    double *sum;      /* [max(W, 2 G, n_a * n_a)] */
    double *square;   /* [max(W, G)] */
    double *cov;      /* [n_a, n_a] */
    REAL *states;     /* [L, R, H] backward */
    REAL *du;         /* [R, W] backward */
    REAL *dstate;     /* [R, H] backward */
    REAL *dnext;      /* [R, H] backward */
    REAL *dprior;     /* [R, G] backward */
    REAL *plain;      /* [W, H] backward: a linear layer, not transposed */
    void *memory;
} Scratch;

static int64_t largest(int64_t a, int64_t b) { return a > b ? a : b; }

static int scratch_take(Scratch *w, const Shape *s, int64_t rows, int backward) {
    const int64_t H = s->n_d + s->n_a, W = 2 * H, G = s->groups, A = s->n_a, wide = largest(W, G) + 16;
    const int64_t reals = rows * W + rows * H + rows * G + rows * A + 2 * TOGETHER * (G + 16) + A * G + G + 16 + 3 * wide +
                          (backward ? s->layers * rows * H + rows * W + 2 * rows * H + rows * G + W * H : 0);
    const int64_t doubles = largest(largest(W, 2 * G), A * A) + wide + A * A;
    const size_t bytes = (size_t)(doubles * 8 + (reals + 64) * sizeof(REAL) + TOGETHER * (G + 16) * 4 + 64);
    char *at = malloc(bytes);
    if (!at) return 0;
    w->memory = at;
#define TAKE(field, type, count) w->field = (type *)at, at += (count) * sizeof(type)
    TAKE(sum, double, largest(largest(W, 2 * G), A * A));
    TAKE(square, double, wide);
    TAKE(cov, double, A * A);
    TAKE(u, REAL, rows * W);
    TAKE(state, REAL, rows * H);
    TAKE(prior, REAL, rows * G);
    TAKE(attention, REAL, rows * A);
    TAKE(z, REAL, TOGETHER * (G + 16));
    TAKE(v, REAL, TOGETHER * (G + 16));
    TAKE(scaled, REAL, A * G);
    TAKE(shift, REAL, G + 16);
    TAKE(mean, REAL, wide);
    TAKE(inv, REAL, wide);
    TAKE(block, REAL, wide);
    if (backward) {
        TAKE(states, REAL, s->layers * rows * H);
        TAKE(du, REAL, rows * W);
        TAKE(dstate, REAL, rows * H);
        TAKE(dnext, REAL, rows * H);
        TAKE(dprior, REAL, rows * G);
        TAKE(plain, REAL, W * H);
    }
    TAKE(group, int32_t, TOGETHER * (G + 16));
#undef TAKE
    return 1;
}

/* Column sums of u [n, width], or of squared distances from `mean`, over the whole team. */
INLINE void column_sums(Team *team, Scratch *w, const REAL *restrict u, const REAL *restrict mean, int64_t n,
                        int64_t width, double *restrict out) {
    REAL *restrict block = w->block;
    for (int64_t i = 0; i < width; i++) out[i] = 0;
    for (int64_t start = 0; start < n; start += BLOCK) {
        const int64_t stop = start + BLOCK < n ? start + BLOCK : n;
        for (int64_t i = 0; i < width; i++) block[i] = 0;
        for (int64_t r = start; r < stop; r++) {
            const REAL *restrict row = u + r * width;
            if (mean)
                for (int64_t i = 0; i < width; i++) block[i] += (row[i] - mean[i]) * (row[i] - mean[i]);
            else
                for (int64_t i = 0; i < width; i++) block[i] += row[i];
        }
        for (int64_t i = 0; i < width; i++) out[i] += block[i];
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
            column_sums(team, w, u, 0, n, W, w->sum);
            for (int64_t i = 0; i < W; i++) w->mean[i] = (REAL)(w->sum[i] / p->ghost);
            column_sums(team, w, u, w->mean, n, W, w->square);
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
                              REAL *attention, const int64_t W) {
    const int64_t A = s->n_a, G = s->groups, n = p->n, norm = (s->steps + 1) * s->layers + step;
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
    for (int64_t k = 0; k < A; k++)
        for (int64_t g = 0; g < G; g++) w->scaled[k * G + g] = linear[k * G + g] * w->mean[g];
}

/* One ghost batch, or this thread's rows of it. Adds to *entropy; *most becomes the largest support if that is more. */
INLINE void forward_part(const Shape *s, const Tape *a, Team *team, Scratch *w, const Part *p, double *entropy,
                         int64_t *most, const int64_t W) {
    const int64_t B = s->rows, D = s->columns, G = s->groups, A = s->n_a, H = W / 2, L = s->layers, K = s->capacity;
    const int64_t n = p->n, lo = p->lo;
    REAL *u = s->training ? a->normed + lo * W : w->u;
    memcpy(u, a->first + lo * W, n * W * sizeof(REAL));
    transformer(s, a, team, w, p, 0, u, W);
    if (a->prior)
        memcpy(w->prior, a->prior + lo * G, n * G * sizeof(REAL));
    else
        for (int64_t i = 0; i < n * G; i++) w->prior[i] = 1;
    double grown = 1;
    for (int64_t step = 0; step < s->steps; step++, grown *= s->gamma) {
        const int64_t t = step + 1;
        REAL *attention = s->training ? a->attention + (step * B + lo) * A : w->attention;
        for (int64_t r = 0; r < n; r++) memcpy(attention + r * A, w->state + r * H + s->n_d, A * sizeof(REAL));
        prepare_attention(s, a, team, w, p, step, attention, W);
        u = s->training ? a->normed + (t * L * B + lo) * W : w->u;
        const REAL *linear = a->parameters + a->linear[t * L];
        for (int64_t start = 0; start < n; start += TOGETHER) {
            const int64_t count = n - start < TOGETHER ? n - start : TOGETHER;
            int64_t sizes[TOGETHER];
            for (int64_t r = 0; r < count; r++) memcpy(w->z + r * G, w->shift, G * sizeof(REAL));
            rows_times(attention + start * A, w->scaled, w->z, count, A, G);
            for (int64_t r = 0; r < count; r++) {
                const int64_t row = lo + start + r;
                REAL *restrict z = w->z + r * G, *restrict prior = w->prior + (start + r) * G;
                int32_t *group = w->group + r * (G + 16);
                REAL *v = w->v + r * (G + 16);
                for (int64_t g = 0; g < G; g++) z[g] *= prior[g];
                const int64_t size = sizes[r] = find_support(z, G, (int)s->entmax, group, v);
                if (size > *most) *most = size;
                for (int64_t e = 0; e < size; e++) { /* a row's few columns lie far apart: fetch them all at once */
                    const int32_t g = group[e];
                    __builtin_prefetch(a->x + row * D + a->group_column[a->group_start[g]]);
                    *entropy += (double)v[e] * (sizeof(REAL) == 8 ? log(v[e] + s->epsilon) : logf(v[e] + (float)s->epsilon));
                    if (s->training && e < K) {
                        const int64_t at = (step * B + row) * K + e;
                        a->support[at] = g;
                        a->mask[at] = v[e];
                        a->support_prior[at] = (REAL)(prior[g] * grown);
                    }
                    prior[g] *= (REAL)(1 - v[e] / s->gamma);
                }
                if (s->training) a->support_size[step * B + row] = (int32_t)(size < 0 ? 0 : size < K ? size : K);
            }
            for (int64_t r = 0; r < count; r++) {
                const REAL *x = a->x + (lo + start + r) * D;
                REAL *restrict out = u + (start + r) * W;
                for (int64_t i = 0; i < W; i++) out[i] = sizes[r] < 0 ? (REAL)NAN : 0; /* NaN in, NaN out */
                for (int64_t e = 0; e < sizes[r]; e++) {
                    const int32_t g = w->group[r * (G + 16) + e];
                    for (int64_t j = a->group_start[g]; j < a->group_start[g + 1]; j++) {
                        const int32_t column = a->group_column[j];
                        axpy(w->v[r * (G + 16) + e] * a->group_share[j] * x[column], linear + column * W, out, W);
                    }
                }
            }
        }
        transformer(s, a, team, w, p, t, u, W);
        for (int64_t r = 0; r < n; r++) {
            REAL *restrict d = a->decisions + (step * B + lo + r) * s->n_d;
            for (int64_t i = 0; i < s->n_d; i++) d[i] = w->state[r * H + i] > 0 ? w->state[r * H + i] : w->state[r * H + i] * 0;
        }
    }
}

/* ------------------------------------------------------------------------------------------------- backward */

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
            REAL sums[W], products[W];
            for (int64_t i = 0; i < W; i++) sums[i] = products[i] = 0;
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
                for (int64_t i = 0; i < W; i++) {
                    sums[i] += dy[i];
                    products[i] += dy[i] * row[i];
                }
            }
            for (int64_t i = 0; i < W; i++) w->sum[i] += sums[i];
            for (int64_t i = 0; i < W; i++) w->square[i] += products[i];
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
                               const Gradient *gradient, REAL *restrict dparameters, const int64_t W) {
    const int64_t B = s->rows, D = s->columns, G = s->groups, A = s->n_a, L = s->layers, K = s->capacity, n = p->n;
    const REAL *first = a->parameters + a->linear[(step + 1) * L];
    REAL *dfirst = dparameters + a->linear[(step + 1) * L];
    const REAL *linear = a->parameters + a->attend[step];
    const REAL *weight = a->parameters + a->attend_norm[step], *bias = weight + G;
    const REAL *inv = a->attend_inverse + (step * p->chunks + p->chunk) * G;
    REAL *dlinear = dparameters + a->attend[step];
    const double later = pow(s->gamma, (double)(s->steps - 1 - step));
    double *sum = w->sum, *product = w->sum + G;
    for (int64_t g = 0; g < 2 * G; g++) sum[g] = 0;
    for (int64_t r = 0; r < n; r++) {
        const int64_t row = p->lo + r, size = a->support_size[step * B + row];
        const int32_t *group = a->support + (step * B + row) * K;
        const REAL *mask = a->mask + (step * B + row) * K, *prior = a->support_prior + (step * B + row) * K;
        const REAL *attention = a->attention + (step * B + row) * A;
        const REAL *x = a->x + row * D, *du = w->du + r * W;
        REAL *dprior = w->dprior + r * G, *dx = gradient->x ? gradient->x + row * D : 0, *dz = w->z;
        if (r + AHEAD < n) {
            const int64_t next = step * B + row + AHEAD;
            for (int64_t e = 0; e < a->support_size[next]; e++) {
                const int32_t column = a->group_column[a->group_start[a->support[next * K + e]]];
                __builtin_prefetch(x + AHEAD * D + column);
                if (dx) __builtin_prefetch(dx + AHEAD * D + column, 1);
            }
        }
        REAL total = 0, roots = 0;
        for (int64_t e = 0; e < size; e++) {
            const int32_t g = group[e];
            const REAL m = mask[e];
            double dm = gradient->entropy * ((sizeof(REAL) == 8 ? log(m + s->epsilon) : logf(m + (float)s->epsilon)) +
                                             m / (m + s->epsilon));
            dm -= prior[e] * dprior[g] * later / s->gamma;
            for (int64_t j = a->group_start[g]; j < a->group_start[g + 1]; j++) {
                const int32_t column = a->group_column[j];
                const REAL through = a->group_share[j] * dot(du, first + column * W, W);
                dm += through * x[column];
                if (dx) dx[column] += through * m;
                axpy(m * a->group_share[j] * x[column], du, dfirst + column * W, W);
            }
            dz[e] = (REAL)dm;
            if (s->entmax) {
                const REAL root = sizeof(REAL) == 8 ? sqrt(m) : sqrtf(m);
                total += dz[e] * root, roots += root;
            } else
                total += dz[e], roots += 1;
        }
        REAL *restrict dattention = w->dnext + r * A;
        for (int64_t k = 0; k < A; k++) dattention[k] = 0;
        for (int64_t e = 0; e < size; e++) {
            const int32_t g = group[e];
            const REAL m = mask[e];
            REAL d = dz[e] - total / roots;
            if (s->entmax) d *= sizeof(REAL) == 8 ? sqrt(m) : sqrtf(m);
            REAL normed = 0;
            for (int64_t k = 0; k < A; k++) normed += attention[k] * linear[k * G + g];
            normed *= inv[g];
            dprior[g] = (REAL)((1 - m / s->gamma) * dprior[g] + d * (normed * weight[g] + bias[g]) / later);
            const REAL dy = d * prior[e], scaled = dy * weight[g] * inv[g];
            sum[g] += dy;
            product[g] += dy * normed;
            for (int64_t k = 0; k < A; k++) {
                dattention[k] += scaled * linear[k * G + g];
                dlinear[k * G + g] += scaled * attention[k];
            }
        }
    }
    REAL *dweight = dparameters + a->attend_norm[step], *dbias = dweight + G;
    for (int64_t g = 0; g < G; g++) dweight[g] += (REAL)product[g];
    for (int64_t g = 0; g < G; g++) dbias[g] += (REAL)sum[g];
    team_sum(team, sum, 2 * G);
    /* The dense rest of the norm's gradient, weight * inv * -(mean(dy) + normed * mean(dy * normed)), in n_a numbers. */
    const double *cov = a->covariance + (step * p->chunks + p->chunk) * A * A;
    double *restrict slope = product;
    for (int64_t g = 0; g < G; g++) sum[g] *= (double)weight[g] * inv[g] / p->ghost;
    for (int64_t g = 0; g < G; g++) slope[g] *= (double)weight[g] * inv[g] * inv[g] / p->ghost;
    double *restrict turned = w->cov;
    REAL constant[A];
    for (int64_t k = 0; k < A; k++) {
        double total = 0;
        for (int64_t g = 0; g < G; g++) total += sum[g] * linear[k * G + g];
        constant[k] = (REAL)total;
        for (int64_t m = 0; m <= k; m++) {
            double both = 0;
#pragma omp simd reduction(+ : both)
            for (int64_t g = 0; g < G; g++) both += slope[g] * linear[k * G + g] * linear[m * G + g];
            turned[k * A + m] = turned[m * A + k] = both;
        }
    }
    for (int64_t r = 0; r < n; r++) {
        const REAL *attention = a->attention + (step * B + p->lo + r) * A;
        REAL *restrict dattention = w->dnext + r * A;
        for (int64_t k = 0; k < A; k++) dattention[k] -= constant[k];
        for (int64_t m = 0; m < A; m++)
            for (int64_t k = 0; k < A; k++) dattention[k] -= (REAL)(attention[m] * turned[m * A + k]);
    }
    if (team->rank == 0)
        for (int64_t k = 0; k < A; k++)
            for (int64_t m = 0; m < A; m++) {
                const double c = cov[k * A + m] * p->ghost;
                for (int64_t g = 0; g < G; g++) dlinear[k * G + g] -= (REAL)(slope[g] * c * linear[m * G + g]);
            }
}

INLINE void backward_part(const Shape *s, const Tape *a, Team *team, Scratch *w, const Part *p, const Gradient *gradient,
                          REAL *dparameters, const int64_t W) {
    const int64_t B = s->rows, H = W / 2, A = s->n_a, n = p->n;
    memset(w->dprior, 0, n * s->groups * sizeof(REAL));
    for (int64_t step = s->steps; step >= 0; step--) { /* transformer number `step` gives attention to step `step` */
        for (int64_t r = 0; r < n; r++) {
            REAL *restrict d = w->dstate + r * H;
            const int64_t at = ((step - 1) * B + p->lo + r) * s->n_d;
            for (int64_t i = 0; i < s->n_d; i++)
                d[i] = step && a->decisions[at + i] > 0 ? gradient->decisions[at + i] : 0;
            for (int64_t k = 0; k < A; k++) d[s->n_d + k] = step < s->steps ? w->dnext[r * A + k] : 0;
        }
        transformer_backward(s, a, team, w, p, step, dparameters, W);
        if (step) attention_backward(s, a, team, w, p, step - 1, gradient, dparameters, W);
    }
    memcpy(gradient->first + p->lo * W, w->du, n * W * sizeof(REAL));
}

/* --------------------------------------------------------------------------------------------------- doors */

/* Common widths get code of their own, in which the compiler knows them. */
#define BY_WIDTH(call)                    \
    switch (2 * (s->n_d + s->n_a)) {      \
        case 16: call(16); break;         \
        case 32: call(32); break;         \
        case 64: call(64); break;         \
        case 128: call(128); break;       \
        default: call(2 * (s->n_d + s->n_a)); \
    }

static __attribute__((noinline)) void forward_width(const Shape *s, const Tape *a, Team *team, Scratch *w, const Part *p,
                                                    double *entropy, int64_t *most) {
#define CALL(W) forward_part(s, a, team, w, p, entropy, most, W)
    BY_WIDTH(CALL)
#undef CALL
}

static __attribute__((noinline)) void backward_width(const Shape *s, const Tape *a, Team *team, Scratch *w,
                                                     const Part *p, const Gradient *gradient, REAL *dparameters) {
#define CALL(W) backward_part(s, a, team, w, p, gradient, dparameters, W)
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
            for (int64_t chunk = 0; chunk < chunks; chunk++)
                for (int64_t which = 0; which < 2; which++, statistic += width) {
                    REAL *restrict running = a->running[2 * norm + which];
                    for (int64_t i = 0; i < width; i++)
                        running[i] = (REAL)((1 - s->momentum) * running[i] + s->momentum * statistic[i]);
                }
        }
    free(statistics), free(entropies), free(mosts);
    return most;
}

int64_t tabnet_backward(const Shape *s, const Tape *a, const Gradient *gradient) { return run(s, a, gradient, 0, 0, 0); }
