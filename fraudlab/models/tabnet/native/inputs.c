/* TabNet's input on the CPU: the embedding look-up and the batch norm over all columns, in one.

   Letters: B rows, C categorical columns, N numeric ones, D embedded columns (the categorical ones' first). */

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
#define EPS 1e-5
#define BLOCK 64 /* rows summed in REAL before they join a sum in double */

typedef struct {
    int64_t rows, categorical, numeric, columns, table_rows, table_width, threads, training;
    double momentum;
} InputShape;

typedef struct {
    const int64_t *ids;   /* [B, C] */
    const REAL *numeric;  /* [B, N] */
    const REAL *table;    /* [table_rows, table_width] */
    const int64_t *offset; /* [C] a column's first row in the table */
    const int64_t *cardinality; /* [C] */
    const int64_t *width; /* [C] columns it becomes */
    const REAL *weight, *bias; /* [D] of the batch norm */
    REAL *running_mean, *running_var;
    REAL *mean, *inverse; /* [D] out in training: of this batch, 1 / standard deviation */
    REAL *out;            /* [B, D] */
} Inputs;

/* One row, not yet normalised. */
static inline void gather(const InputShape *s, const Inputs *a, int64_t row, REAL *restrict raw) {
    const int64_t *ids = a->ids + row * s->categorical;
    for (int64_t c = 0; c < s->categorical; c++) {
        const REAL *entry = a->table + (a->offset[c] + ids[c]) * s->table_width;
        for (int64_t k = 0; k < a->width[c]; k++) *raw++ = entry[k];
    }
    memcpy(raw, a->numeric + row * s->numeric, s->numeric * sizeof(REAL));
}

/* Adds each column's sum of values, or of squared distances from `mean`, over rows lo .. hi to `total`. */
static void sums(const InputShape *s, const Inputs *a, int64_t lo, int64_t hi, const REAL *restrict mean,
                 REAL *restrict raw, REAL *restrict block, double *restrict total) {
    const int64_t D = s->columns;
    for (int64_t start = lo; start < hi; start += BLOCK) {
        memset(block, 0, D * sizeof(REAL));
        for (int64_t r = start; r < hi && r < start + BLOCK; r++) {
            gather(s, a, r, raw);
            if (mean)
                for (int64_t j = 0; j < D; j++) block[j] += (raw[j] - mean[j]) * (raw[j] - mean[j]);
            else
                for (int64_t j = 0; j < D; j++) block[j] += raw[j];
        }
        for (int64_t j = 0; j < D; j++) total[j] += block[j];
    }
}

static double *over_threads(double *total, int64_t threads, int64_t count) {
    for (int64_t t = 1; t < threads; t++)
        for (int64_t j = 0; j < count; j++) total[j] += total[t * count + j];
    return total;
}

/* Returns 0; -1 if memory ran out; 1 + row * C + column of the first id out of its range. */
int64_t tabnet_inputs_forward(const InputShape *s, const Inputs *a) {
    const int64_t D = s->columns, T = s->threads;
    for (int64_t i = 0; i < s->rows * s->categorical; i++)
        if (a->ids[i] < 0 || a->ids[i] >= a->cardinality[i % s->categorical]) return 1 + i;
    double *total = calloc((size_t)(T * D), sizeof(double));
    REAL *own = malloc((size_t)(T * 2 * D + 2 * D + 1) * sizeof(REAL));
    if (!total || !own) {
        free(total), free(own);
        return -1;
    }
    REAL *scale = own + T * 2 * D, *shift = scale + D;
    if (s->training) {
        for (int pass = 0; pass < 2; pass++) {
            memset(total, 0, T * D * sizeof(double));
#ifdef _OPENMP
#pragma omp parallel for num_threads((int)T) schedule(static, 1)
#endif
            for (int64_t t = 0; t < T; t++)
                sums(s, a, s->rows * t / T, s->rows * (t + 1) / T, pass ? a->mean : 0, own + t * 2 * D,
                     own + t * 2 * D + D, total + t * D);
            over_threads(total, T, D);
            for (int64_t j = 0; j < D; j++) {
                if (pass) {
                    a->inverse[j] = (REAL)(1 / sqrt(total[j] / s->rows + EPS));
                    a->running_var[j] =
                        (REAL)((1 - s->momentum) * a->running_var[j] + s->momentum * total[j] / (s->rows - 1));
                } else {
                    a->mean[j] = (REAL)(total[j] / s->rows);
                    a->running_mean[j] = (REAL)((1 - s->momentum) * a->running_mean[j] + s->momentum * total[j] / s->rows);
                }
            }
        }
        memcpy(shift, a->mean, D * sizeof(REAL));
        memcpy(scale, a->inverse, D * sizeof(REAL));
    } else
        for (int64_t j = 0; j < D; j++) {
            shift[j] = a->running_mean[j];
            scale[j] = (REAL)(1 / sqrt(a->running_var[j] + EPS));
        }
    for (int64_t j = 0; j < D; j++) scale[j] *= a->weight[j];
#ifdef _OPENMP
#pragma omp parallel for num_threads((int)T) schedule(static, 1)
#endif
    for (int64_t t = 0; t < T; t++)
        for (int64_t r = s->rows * t / T; r < s->rows * (t + 1) / T; r++) {
            REAL *restrict out = a->out + r * D;
            gather(s, a, r, out);
            for (int64_t j = 0; j < D; j++) out[j] = (out[j] - shift[j]) * scale[j] + a->bias[j];
        }
    free(total), free(own);
    return 0;
}

/* From dx [B, D] to the norm's dweight and dbias [D] and to dtable (zeros on entry). Returns 0, or -1 if memory ran
   out. Where the table is small each thread fills one of its own over its rows; else it fills its columns' part. */
int64_t tabnet_inputs_backward(const InputShape *s, const Inputs *a, const REAL *dx, REAL *dweight, REAL *dbias,
                               REAL *dtable) {
    const int64_t D = s->columns, C = s->categorical, T = s->threads, size = s->table_rows * s->table_width;
    const int by_rows = size * T <= s->rows * D;
    double *total = calloc((size_t)(T * 2 * D), sizeof(double));
    REAL *own = malloc((size_t)(T * 3 * D + 2 * D + 1) * sizeof(REAL));
    REAL *tables = by_rows ? calloc((size_t)(T * size + 1), sizeof(REAL)) : 0;
    if (!total || !own || (by_rows && !tables)) {
        free(total), free(own), free(tables);
        return -1;
    }
    REAL *mean = own + T * 3 * D, *slope = mean + D;
#ifdef _OPENMP
#pragma omp parallel num_threads((int)T)
#endif
    {
        int64_t first = 0, last = T; /* normally one each; all of them where there is but one thread */
#ifdef _OPENMP
        const int64_t rank = omp_get_thread_num(), members = omp_get_num_threads();
        first = T * rank / members, last = T * (rank + 1) / members;
#endif
        for (int64_t t = first; t < last; t++) {
            REAL *restrict raw = own + t * 3 * D, *restrict one = raw + D, *restrict two = one + D;
            double *restrict sum = total + t * 2 * D, *restrict product = sum + D;
            const int64_t lo = s->rows * t / T, hi = s->rows * (t + 1) / T;
            for (int64_t start = lo; start < hi; start += BLOCK) {
                memset(one, 0, 2 * D * sizeof(REAL));
                for (int64_t r = start; r < hi && r < start + BLOCK; r++) {
                    const REAL *restrict d = dx + r * D;
                    gather(s, a, r, raw);
                    for (int64_t j = 0; j < D; j++) {
                        one[j] += d[j];
                        two[j] += d[j] * ((raw[j] - a->mean[j]) * a->inverse[j]);
                    }
                }
                for (int64_t j = 0; j < D; j++) sum[j] += one[j];
                for (int64_t j = 0; j < D; j++) product[j] += two[j];
            }
        }
#ifdef _OPENMP
#pragma omp barrier
#pragma omp single
#endif
        {
            over_threads(total, T, 2 * D);
            for (int64_t j = 0; j < D; j++) {
                dbias[j] = (REAL)total[j], dweight[j] = (REAL)total[D + j];
                mean[j] = (REAL)(total[j] / s->rows), slope[j] = (REAL)(total[D + j] / s->rows);
            }
        }
        for (int64_t t = first; t < last; t++) {
            const int64_t lo = by_rows ? s->rows * t / T : 0, hi = by_rows ? s->rows * (t + 1) / T : s->rows;
            const int64_t from = by_rows ? 0 : C * t / T, to = by_rows ? C : C * (t + 1) / T;
            REAL *table = by_rows ? tables + t * size : dtable;
            int64_t start = 0;
            for (int64_t c = 0; c < from; c++) start += a->width[c];
            for (int64_t r = lo; r < hi; r++) {
                const REAL *d = dx + r * D;
                int64_t j = start;
                for (int64_t c = from; c < to; c++) {
                    const int64_t at = (a->offset[c] + a->ids[r * C + c]) * s->table_width;
                    for (int64_t k = 0; k < a->width[c]; k++, j++) {
                        const REAL normed = (a->table[at + k] - a->mean[j]) * a->inverse[j];
                        table[at + k] += a->weight[j] * a->inverse[j] * (d[j] - mean[j] - normed * slope[j]);
                    }
                }
            }
        }
    }
    if (by_rows)
        for (int64_t t = 0; t < T; t++)
            for (int64_t i = 0; i < size; i++) dtable[i] += tables[t * size + i];
    free(total), free(own), free(tables);
    return 0;
}
