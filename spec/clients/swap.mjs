// swap.mjs: a luaswap with two models for the client programs, and their `ok` / `not ok` lines.
//
//   talker  luaswap's own demo model: chat, completions, responses, messages, embeddings; loads for 0.2 s
//   maker   upstream.mjs: tools, audio, images, what never answers, what breaks off
//
// LUASWAP_BIN names the program.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

// Node 18 (Debian 12) has it, but not where the SDKs look for it.
globalThis.File ??= (await import('node:buffer')).File;

const here = fileURLToPath(new URL('.', import.meta.url));
const bin = process.env.LUASWAP_BIN ?? join(here, '../../build/dev/luaswap');

function config() {
  return `startPort: ${20000 + (process.pid % 2000) * 4}
apiKeys: [key-of-the-specs]
models:
  talker:
    cmd: ${bin} demo-model --port \${PORT} --name talker --load-time 0.2 --tokens 20 --rate 400
  maker:
    cmd: ${process.execPath} ${join(here, 'upstream.mjs')} \${PORT}
`;
}

export async function start() {
  const dir = mkdtempSync(join(tmpdir(), 'luaswap-clients-'));
  const path = join(dir, 'config.yaml');
  writeFileSync(path, config());
  const child = spawn(bin, ['-config', path, '-listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'inherit'] });
  let log = '';
  const ended = new Promise((resolve) => child.on('exit', (code, signal) => resolve(code ?? signal)));
  const port = await new Promise((resolve, reject) => {
    child.stdout.on('data', (bytes) => {
      log += bytes;
      const m = log.match(/listening on http:\/\/127\.0\.0\.1:(\d+)/);
      if (m) resolve(Number(m[1]));
    });
    ended.then((code) => reject(new Error(`luaswap ended with ${code}: ${log}`)));
    setTimeout(() => reject(new Error('luaswap does not listen')), 20000).unref();
  });
  const url = `http://127.0.0.1:${port}`;
  return {
    url,
    key: 'key-of-the-specs',
    log: () => log,
    // What the maker has seen so far.
    async stats() {
      const r = await fetch(`${url}/upstream/maker/stats`, { headers: { 'x-api-key': 'key-of-the-specs' } });
      return r.json();
    },
    async stop() {
      child.kill('SIGTERM');
      const code = await ended;
      rmSync(dir, { recursive: true, force: true });
      return code;
    },
  };
}

export async function till(fn, what) {
  const deadline = Date.now() + 10000;
  for (;;) {
    const v = await fn();
    if (v) return v;
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export const tone = Buffer.alloc(3 << 20, 'RIFF-not-really-but-long-enough.');
export const weather = {
  type: 'object',
  properties: { city: { type: 'string' } },
  required: ['city'],
};

// list: [name, async function] pairs, run in order against one luaswap.
export async function run(title, list) {
  const swap = await start();
  let failed = 0;
  for (const [name, fn] of list(swap)) {
    let timer;
    try {
      await Promise.race([
        fn(),
        new Promise((_, reject) => {
          timer = setTimeout(() => reject(new Error('takes more than 30 s')), 30000);
        }),
      ]);
      console.log(`ok ${title}: ${name}`);
    } catch (e) {
      failed++;
      console.log(`not ok ${title}: ${name}`);
      console.log(String(e.stack ?? e).replace(/^/gm, '# '));
    } finally {
      clearTimeout(timer);
    }
  }
  const code = await swap.stop();
  if (code === 0) {
    console.log(`ok ${title}: luaswap ends well`);
  } else {
    failed++;
    console.log(`not ok ${title}: luaswap ends with ${code}`);
    console.log(swap.log().replace(/^/gm, '# '));
  }
  process.exit(failed ? 1 : 0);
}
