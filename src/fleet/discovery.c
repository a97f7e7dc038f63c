/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/api-internal.h"

/* A description of the API in the form of Google's discovery documents, version 1, for clients that generate
 * themselves from it. Written after the format, from what this server does. */

#define UNIT_NAME "\"unitName\": {\"type\": \"string\", \"location\": \"path\", \"required\": true}"
#define PAGE_TOKEN "\"nextPageToken\": {\"type\": \"string\", \"location\": \"query\"}"
#define STRING "{\"type\": \"string\"}"
#define STATE "{\"type\": \"string\", \"enum\": [\"inactive\", \"loaded\", \"launched\"]}"
#define LIST_OF(what) "{\"type\": \"array\", \"items\": {\"$ref\": \"" what "\"}}"
#define PAGE(name, items, of)                                                                                 \
        "    \"" name "\": {\"id\": \"" name "\", \"type\": \"object\", \"properties\": {\"" items "\": "     \
        LIST_OF(of) ", \"nextPageToken\": " STRING "}}"

const char api_discovery_text[] =
        "{\n"
        "  \"kind\": \"discovery#restDescription\",\n"
        "  \"discoveryVersion\": \"v1\",\n"
        "  \"id\": \"fleet:v1\",\n"
        "  \"name\": \"schema\",\n"
        "  \"version\": \"v1\",\n"
        "  \"title\": \"fleet API\",\n"
        "  \"description\": \"\",\n"
        "  \"documentationLink\": \"http://github.com/coreos/fleet\",\n"
        "  \"protocol\": \"rest\",\n"
        "  \"icons\": {\"x16\": \"\", \"x32\": \"\"},\n"
        "  \"labels\": [],\n"
        "  \"baseUrl\": \"$ENDPOINT/fleet/v1/\",\n"
        "  \"basePath\": \"/fleet/v1/\",\n"
        "  \"rootUrl\": \"$ENDPOINT/\",\n"
        "  \"servicePath\": \"fleet/v1/\",\n"
        "  \"batchPath\": \"batch\",\n"
        "  \"parameters\": {},\n"
        "  \"auth\": {},\n"
        "  \"schemas\": {\n"
        "    \"Machine\": {\"id\": \"Machine\", \"type\": \"object\", \"properties\": {\"id\": " STRING
        ", \"primaryIP\": " STRING ", \"metadata\": {\"type\": \"object\", \"additionalProperties\": " STRING
        "}}},\n" PAGE("MachinePage", "machines", "Machine") ",\n"
        "    \"UnitOption\": {\"id\": \"UnitOption\", \"type\": \"object\", \"properties\": {\"section\": " STRING
        ", \"name\": " STRING ", \"value\": " STRING "}},\n"
        "    \"Unit\": {\"id\": \"Unit\", \"type\": \"object\", \"properties\": {\"name\": " STRING
        ", \"options\": " LIST_OF("UnitOption") ", \"desiredState\": " STATE ", \"currentState\": " STATE
        ", \"machineID\": " STRING "}},\n" PAGE("UnitPage", "units", "Unit") ",\n"
        "    \"UnitState\": {\"id\": \"UnitState\", \"type\": \"object\", \"properties\": {\"name\": " STRING
        ", \"hash\": " STRING ", \"machineID\": " STRING ", \"systemdLoadState\": " STRING
        ", \"systemdActiveState\": " STRING ", \"systemdSubState\": " STRING "}},\n"
        PAGE("UnitStatePage", "states", "UnitState") "\n"
        "  },\n"
        "  \"resources\": {\n"
        "    \"Machines\": {\"methods\": {\n"
        "      \"List\": {\"id\": \"fleet.Machine.List\", \"description\": \"Retrieve a page of Machine objects.\","
        " \"httpMethod\": \"GET\", \"path\": \"machines\", \"parameters\": {" PAGE_TOKEN
        "}, \"response\": {\"$ref\": \"MachinePage\"}}\n"
        "    }},\n"
        "    \"Units\": {\"methods\": {\n"
        "      \"List\": {\"id\": \"fleet.Unit.List\", \"description\": \"Retrieve a page of Unit objects.\","
        " \"httpMethod\": \"GET\", \"path\": \"units\", \"parameters\": {" PAGE_TOKEN
        "}, \"response\": {\"$ref\": \"UnitPage\"}},\n"
        "      \"Get\": {\"id\": \"fleet.Unit.Get\", \"description\": \"Retrieve a single Unit object.\","
        " \"httpMethod\": \"GET\", \"path\": \"units/{unitName}\", \"parameters\": {" UNIT_NAME
        "}, \"parameterOrder\": [\"unitName\"], \"response\": {\"$ref\": \"Unit\"}},\n"
        "      \"Delete\": {\"id\": \"fleet.Unit.Delete\", \"description\": \"Delete the referenced Unit object.\","
        " \"httpMethod\": \"DELETE\", \"path\": \"units/{unitName}\", \"parameters\": {" UNIT_NAME
        "}, \"parameterOrder\": [\"unitName\"]},\n"
        "      \"Set\": {\"id\": \"fleet.Unit.Set\", \"description\": \"Create or update a Unit.\","
        " \"httpMethod\": \"PUT\", \"path\": \"units/{unitName}\", \"parameters\": {" UNIT_NAME
        "}, \"parameterOrder\": [\"unitName\"], \"request\": {\"$ref\": \"Unit\"}}\n"
        "    }},\n"
        "    \"UnitState\": {\"methods\": {\n"
        "      \"List\": {\"id\": \"fleet.UnitState.List\", \"description\": \"Retrieve a page of UnitState"
        " objects.\", \"httpMethod\": \"GET\", \"path\": \"state\", \"parameters\": {" PAGE_TOKEN
        ", \"unitName\": {\"type\": \"string\", \"location\": \"query\"}, \"machineID\": {\"type\": \"string\","
        " \"location\": \"query\"}}, \"response\": {\"$ref\": \"UnitStatePage\"}},\n"
        "      \"Get\": {\"id\": \"fleet.UnitState.Get\", \"description\": \"Retrieve a single UnitState object.\","
        " \"httpMethod\": \"GET\", \"path\": \"state/{unitName}\", \"parameters\": {" UNIT_NAME
        "}, \"parameterOrder\": [\"unitName\"], \"response\": {\"$ref\": \"UnitState\"}}\n"
        "    }}\n"
        "  }\n"
        "}\n";
