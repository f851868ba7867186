/* demo.c: see demo.h. */
#include "main/demo.h"

static const struct {
    const char *id, *about, *load_time, *rate;
} models[] = {
    { "tiny-otter", "loads at once, talks fast", "0.5", "60" },
    { "old-owl", "takes its time, then speaks slowly", "2.5", "15" },
    { "red-panda", "somewhere in between", "1.2", "30" },
    { "sleepy-bear", "a big one: five seconds to wake up", "5", "25" },
};

void demo_config(struct strbuf *out, const char *program)
{
    strbuf_add(out, S("# The configuration of `luaswap demo`; with your own models it looks just like this.\n"
                      "sendLoadingState: true\n"
                      "models:\n"));
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        strbuf_addf(out,
                    "  %s:\n"
                    "    cmd: \"'%s' demo-model --port ${PORT} --name ${MODEL_ID} --load-time %s --rate %s\"\n"
                    "    description: \"%s\"\n"
                    "    ttl: 300\n",
                    models[i].id, program, models[i].load_time, models[i].rate, models[i].about);
}

void demo_greeting(struct strbuf *out, str addr)
{
    strbuf_addf(out,
                "\nluaswap demo: four built-in models, no GPU needed. One at a time is loaded; asking for another swaps it.\n\n"
                "  open       http://" STR_FMT "/\n"
                "  ask        curl -N http://" STR_FMT "/v1/chat/completions -H 'Content-Type: application/json' \\\n"
                "               -d '{\"model\":\"tiny-otter\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}'\n"
                "  swap       the same with \"old-owl\", \"red-panda\" or \"sleepy-bear\"\n"
                "  watch      curl -N http://" STR_FMT "/logs/stream\n"
                "  running    curl http://" STR_FMT "/running\n\n"
                "Your own models: luaswap -config config.yaml (see config.example.yaml). Stop with Ctrl-C.\n\n",
                STR_ARG(addr), STR_ARG(addr), STR_ARG(addr), STR_ARG(addr));
}
