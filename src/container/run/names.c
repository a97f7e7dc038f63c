/* SPDX-License-Identifier: Apache-2.0 */
#include "container/run/names.h"
#include "base/alloc.h"

static const char *const left[] = {
        "able",   "agile",  "ample",  "amber",  "bold",   "brave",  "breezy", "bright", "brisk",  "calm",   "clever",
        "coastal", "cosy",  "crisp",  "daring", "deep",   "eager",  "early",  "fair",   "fearless", "fleet", "fond",
        "frosty", "gallant", "gentle", "glad",  "golden", "hardy",  "humble", "jolly",  "keen",   "kind",   "lively",
        "lucid",  "mellow", "merry",  "mighty", "nimble", "noble",  "patient", "placid", "proud", "quiet",  "ready",
        "salty",  "serene", "sharp",  "silent", "silver", "sleek",  "steady", "stormy", "sturdy", "sunny",  "swift",
        "tidal",  "trusty", "vivid",  "warm",   "wise",   "witty",  "zealous", "windy", "upbeat",
};
static const char *const right[] = {
        "amundsen", "barents", "beaufort", "bering",  "bougainville", "bowditch", "cabot",   "cook",    "cousteau",
        "darwin",   "davis",   "dias",     "drake",   "elcano",       "erikson",  "fitzroy", "flinders", "franklin",
        "frobisher", "gama",   "garneray", "grenfell", "harrison",    "hawkins",  "hudson",  "humboldt", "jansz",
        "joyon",    "knox",    "laperouse", "leif",   "lovelace",     "magellan", "maury",   "mcclure", "mercator",
        "moitessier", "nansen", "nelson",  "parry",   "peary",        "pytheas",  "quiros",  "raleigh", "ross",
        "scoresby", "selkirk", "shackleton", "slocum", "tabarly",     "tasman",   "torres",  "vancouver", "vespucci",
        "wallis",   "weddell", "wilkes",   "willoughby", "zheng",     "brendan",  "bligh",   "colomb",  "hopper",
        "turing",
};

char *container_random_name(uint64_t random, unsigned attempt) {
        const char *l = left[random % ELEMENTSOF(left)];
        const char *r = right[(random >> 16) % ELEMENTSOF(right)];
        if (attempt < 2)
                return xasprintf("%s_%s", l, r);
        return xasprintf("%s_%s%u", l, r, (unsigned) (random >> 40) % 1000);
}
