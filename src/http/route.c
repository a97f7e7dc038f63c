/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "http/http.h"

const char *http_status_text(int status) {
        static const struct {
                int status;
                const char *text;
        } table[] = {
                { 200, "OK" },
                { 201, "Created" },
                { 202, "Accepted" },
                { 204, "No Content" },
                { 206, "Partial Content" },
                { 101, "Switching Protocols" },
                { 301, "Moved Permanently" },
                { 302, "Found" },
                { 304, "Not Modified" },
                { 307, "Temporary Redirect" },
                { 308, "Permanent Redirect" },
                { 400, "Bad Request" },
                { 401, "Unauthorized" },
                { 403, "Forbidden" },
                { 404, "Not Found" },
                { 405, "Method Not Allowed" },
                { 406, "Not Acceptable" },
                { 408, "Request Timeout" },
                { 409, "Conflict" },
                { 410, "Gone" },
                { 411, "Length Required" },
                { 412, "Precondition Failed" },
                { 413, "Request Entity Too Large" },
                { 414, "Request URI Too Long" },
                { 415, "Unsupported Media Type" },
                { 416, "Requested Range Not Satisfiable" },
                { 417, "Expectation Failed" },
                { 422, "Unprocessable Entity" },
                { 429, "Too Many Requests" },
                { 431, "Request Header Fields Too Large" },
                { 500, "Internal Server Error" },
                { 501, "Not Implemented" },
                { 502, "Bad Gateway" },
                { 503, "Service Unavailable" },
                { 504, "Gateway Timeout" },
                { 505, "HTTP Version Not Supported" },
        };
        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                if (table[i].status == status)
                        return table[i].text;
        return "Status";
}

static const struct {
        const char *name;
        unsigned bit;
} methods[] = {
        { "GET", HTTP_GET },       { "HEAD", HTTP_HEAD },   { "POST", HTTP_POST },       { "PUT", HTTP_PUT },
        { "DELETE", HTTP_DELETE }, { "PATCH", HTTP_PATCH }, { "OPTIONS", HTTP_OPTIONS },
};

unsigned http_method_bit(const char *method) {
        for (size_t i = 0; i < ELEMENTSOF(methods); i++)
                if (streq(methods[i].name, method))
                        return methods[i].bit;
        return 0;
}

/* ---- routes ---- */

static bool route_matches(const HttpRoute *r, const char *path) {
        size_t n = strlen(r->path);
        if (!(r->flags & HTTP_ROUTE_PREFIX))
                return streq(r->path, path);
        if (strncmp(r->path, path, n) != 0)
                return false;
        return path[n] == 0 || path[n] == '/' || (n > 0 && r->path[n - 1] == '/');
}

static void method_not_allowed(const HttpRoute *routes, size_t best, HttpReq *q) {
        _cleanup_(buf_done) Buf allow = {};
        unsigned bits = 0;
        for (const HttpRoute *r = routes; r->path; r++)
                if (strlen(r->path) == best && route_matches(r, q->path))
                        bits |= r->methods;
        for (size_t i = 0; i < ELEMENTSOF(methods); i++)
                if (bits & methods[i].bit)
                        buf_addf(&allow, "%s%s", allow.len > 0 ? ", " : "", methods[i].name);
        http_add_header(q, "Allow", buf_str(&allow));
        http_respondf(q, 405, "Method Not Allowed\n");
}

void http_route(const HttpRoute *routes, HttpReq *q, void *user) {
        unsigned bit = http_method_bit(q->method);
        const HttpRoute *found = NULL;
        bool any = false;
        size_t best = 0;
        for (const HttpRoute *r = routes; r->path; r++) {
                size_t n = strlen(r->path);
                if (!route_matches(r, q->path) || (any && n < best))
                        continue;
                if (!any || n > best)
                        found = NULL;
                any = true;
                best = n;
                if (!found && (r->methods == 0 || (r->methods & bit)))
                        found = r;
        }
        if (!any)
                http_respondf(q, 404, "404 page not found\n");
        else if (!found)
                method_not_allowed(routes, best, q);
        else if (found->flags & HTTP_ROUTE_STREAM)
                found->handler(q, user);
        else
                http_collect(q, found->body_max, found->handler, user);
}
