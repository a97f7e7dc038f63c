/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The part of Go's text/template that people use with `docker inspect --format` and `docker ps --format`, over
 * JSON values. Pure.
 *
 *   {{.A.B}} {{index .Ports "80/tcp" 0}} {{(index .X 0).Y}} {{json .}} {{join .L ","}} {{len .L}} {{printf "%s" .A}}
 *   {{if …}}{{else if …}}{{else}}{{end}}  {{range …}}{{else}}{{end}}  {{range $k, $v := .M}}  {{with …}}{{end}}
 *   {{$x := .A}}  pipelines a | b, eq ne lt le gt ge and or not, upper lower title split print println,
 *   trimming {{- -}}, comments.
 *
 * Templates and values may come from anywhere: nesting, steps and output are limited. */

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>

#define TEMPLATE_DEPTH_MAX 64
#define TEMPLATE_OUTPUT_MAX (16U << 20)

typedef struct Template Template;
int template_parse(const char *text, Template **ret, Err *err);
Template *template_free(Template *t);
DEFINE_CLEANUP(Template *, template_free)
/* Appends to `out`. A name that the value does not have is an error, as with Go's structs. */
int template_run(const Template *t, const json_t *value, Buf *out, Err *err);
