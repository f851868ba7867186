/* demo_model.h: `luaswap demo-model`: a small OpenAI-compatible server without a model behind it.
 *
 * What: behaves like an inference server as far as a proxy and its clients can see: loads for a while (health
 *       503, then 200), then answers chat, completion, responses, messages, embedding and rerank requests,
 *       streamed or not, at a steady token rate, with texts of its own. For `luaswap demo` and for specs.
 * Ends: SIGTERM or SIGINT; exit status 0.
 */
#ifndef LUASWAP_MAIN_DEMO_MODEL_H
#define LUASWAP_MAIN_DEMO_MODEL_H

/* argv[0] is "demo-model"; options: --port N --name X [--host 127.0.0.1] [--load-time SECONDS] [--tokens N]
 * [--rate PER_SECOND]. Returns the exit status. */
int demo_model_main(int argc, char **argv);

#endif
