/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Intrusive doubly linked list: `LIST_LINK(Foo) link;` in the element, `LIST_HEAD(Foo) foos;` in the owner.
 * A zeroed head is an empty list. Appending and removing are O(1). */

#define LIST_LINK(type)                                                                                     \
        struct {                                                                                            \
                struct type *prev, *next;                                                                   \
        }
#define LIST_HEAD(type)                                                                                     \
        struct {                                                                                            \
                struct type *first, *last;                                                                  \
        }
#define LIST_APPEND(head, item, link)                                                                       \
        do {                                                                                                \
                (item)->link.prev = (head)->last;                                                           \
                (item)->link.next = NULL;                                                                   \
                if ((head)->last)                                                                           \
                        (head)->last->link.next = (item);                                                   \
                else                                                                                        \
                        (head)->first = (item);                                                             \
                (head)->last = (item);                                                                      \
        } while (0)
#define LIST_PREPEND(head, item, link)                                                                      \
        do {                                                                                                \
                (item)->link.next = (head)->first;                                                          \
                (item)->link.prev = NULL;                                                                   \
                if ((head)->first)                                                                          \
                        (head)->first->link.prev = (item);                                                  \
                else                                                                                        \
                        (head)->last = (item);                                                              \
                (head)->first = (item);                                                                     \
        } while (0)
#define LIST_REMOVE(head, item, link)                                                                       \
        do {                                                                                                \
                if ((item)->link.prev)                                                                      \
                        (item)->link.prev->link.next = (item)->link.next;                                   \
                else                                                                                        \
                        (head)->first = (item)->link.next;                                                  \
                if ((item)->link.next)                                                                      \
                        (item)->link.next->link.prev = (item)->link.prev;                                   \
                else                                                                                        \
                        (head)->last = (item)->link.prev;                                                   \
                (item)->link.prev = (item)->link.next = NULL;                                               \
        } while (0)
/* The current item may be removed or freed inside the body; no other may. */
#define LIST_FOREACH(i, head, link)                                                                         \
        for (__typeof__(*(head)->first) *i = (head)->first, *i##_next = i ? i->link.next : NULL; i;         \
             i = i##_next, i##_next = i ? i->link.next : NULL)
