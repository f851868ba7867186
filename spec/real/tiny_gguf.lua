-- tiny_gguf.lua: writes small GGUF models with random weights that a real llama-server loads in milliseconds.
--
--   luaswap-spec --run spec/real/tiny_gguf.lua DIR      (plain lua5.4 does as well)
--   local paths = require 'spec.real.tiny_gguf'.write_all(dir)    paths.alpha, .beta, .gamma, .embed
--
-- alpha says only letters a-h, beta only i-p, gamma only q-z: the text of an answer tells which model made it,
-- without any help from the server. How: dimension 0 of the hidden state is a constant that no layer touches
-- (its row in every matrix that writes back is zero), so column 0 of the output matrix is a bias for each
-- token, and all tokens but the letters get one that no random logit can make up for. The end token is among
-- the forbidden: an answer is exactly as long as the request's max_tokens says.
--
-- Format: GGUF version 3 (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md); all tensors are F32.
local gguf = {}

local T = { u32 = 4, i32 = 5, f32 = 6, bool = 7, string = 8, array = 9 }
local pack_of = { u32 = '<I4', i32 = '<i4', f32 = '<f', string = '<s8' }
local ALIGN = 32

local function value(kind, v)
  if kind == 'bool' then return v and '\1' or '\0' end
  return string.pack(pack_of[kind], v)
end

-- ---- a file under construction ----------------------------------------------------------------

local File = {}
File.__index = File

function File:set(key, kind, v)
  self.n_meta = self.n_meta + 1
  self.meta[self.n_meta] = string.pack('<s8I4', key, T[kind]) .. value(kind, v)
end

function File:set_list(key, kind, list)
  local parts = { string.pack('<s8I4I4I8', key, T.array, T[kind], #list) }
  for i, v in ipairs(list) do parts[i + 1] = value(kind, v) end
  self.n_meta = self.n_meta + 1
  self.meta[self.n_meta] = table.concat(parts)
end

-- `cols` is the fastest running dimension; `at(row, col)`, both from 0, gives the elements.
function File:matrix(name, cols, rows, at)
  local parts, line = {}, {}
  local fmt = '<' .. ('f'):rep(cols)
  for r = 0, rows - 1 do
    for c = 0, cols - 1 do line[c + 1] = at(r, c) end
    parts[r + 1] = fmt:pack(table.unpack(line, 1, cols))
  end
  self:tensor(name, { cols, rows }, table.concat(parts))
end

function File:ones(name, n)
  self:tensor(name, { n }, string.pack('<f', 1.0):rep(n))
end

function File:tensor(name, dims, bytes)
  bytes = bytes .. ('\0'):rep(-#bytes % ALIGN)
  local info = { string.pack('<s8I4', name, #dims) }
  for _, d in ipairs(dims) do info[#info + 1] = string.pack('<I8', d) end
  info[#info + 1] = string.pack('<I4I8', 0, self.offset) -- type 0: F32
  self.offset = self.offset + #bytes
  self.infos[#self.infos + 1] = table.concat(info)
  self.data[#self.data + 1] = bytes
end

function File:save(path)
  local head = string.pack('<c4I4I8I8', 'GGUF', 3, #self.infos, self.n_meta)
    .. table.concat(self.meta) .. table.concat(self.infos)
  head = head .. ('\0'):rep(-#head % ALIGN)
  local temporary = ('%s.%d.tmp'):format(path, math.random(1 << 30))
  local f = assert(io.open(temporary, 'wb'))
  assert(f:write(head, table.concat(self.data)))
  assert(f:close())
  assert(os.rename(temporary, path)) -- whole or not at all, also when two runs write at once
  return path
end

local function new_file()
  return setmetatable({ meta = {}, n_meta = 0, infos = {}, data = {}, offset = 0 }, File)
end

-- ---- vocabulary: one token for each byte, in the byte-level spelling of GPT-2 -----------------

-- GPT-2 writes the bytes that have no printable form in Latin-1 as code points from 256 upwards.
local function byte_spellings()
  local spelling, next_free = {}, 256
  for b = 0, 255 do
    if (b >= 33 and b <= 126) or (b >= 161 and b ~= 173) then
      spelling[b] = utf8.char(b)
    else
      spelling[b] = utf8.char(next_free)
      next_free = next_free + 1
    end
  end
  return spelling
end

local CHAT = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
  .. "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"

-- Returns the number of tokens and the ids of the bytes.
local function vocabulary(f)
  local spelling = byte_spellings()
  local tokens, kinds, id_of_byte = {}, {}, {}
  local function add(text, kind)
    tokens[#tokens + 1], kinds[#kinds + 1] = text, kind
    return #tokens - 1
  end
  for b = 0, 255 do id_of_byte[b] = add(spelling[b], 1) end
  add('he', 1) -- the merge list may not be empty
  local bos, eos = add('<|bos|>', 3), add('<|endoftext|>', 3)
  add('<|im_start|>', 3)
  local eot = add('<|im_end|>', 3)
  f:set('tokenizer.ggml.model', 'string', 'gpt2')
  f:set('tokenizer.ggml.pre', 'string', 'gpt-2')
  f:set_list('tokenizer.ggml.tokens', 'string', tokens)
  f:set_list('tokenizer.ggml.token_type', 'i32', kinds)
  f:set_list('tokenizer.ggml.merges', 'string', { 'h e' })
  f:set('tokenizer.ggml.bos_token_id', 'u32', bos)
  f:set('tokenizer.ggml.eos_token_id', 'u32', eos)
  f:set('tokenizer.ggml.eot_token_id', 'u32', eot)
  f:set('tokenizer.ggml.add_bos_token', 'bool', false)
  f:set('tokenizer.chat_template', 'string', CHAT)
  return #tokens, id_of_byte
end

-- ---- a model ----------------------------------------------------------------------------------

local WIDTH, HEADS, KV_HEADS, LAYERS, FF, CONTEXT = 64, 4, 2, 2, 128, 4096

-- letters: text of the bytes it may say, nil = any; pooling: of an embedding model.
function gguf.model(name, seed, letters, pooling)
  math.randomseed(seed)
  local f = new_file()
  local function spread(sigma) return function() return (math.random() * 2 - 1) * sigma * 1.7 end end
  f:set('general.architecture', 'string', 'llama')
  f:set('general.name', 'string', name)
  f:set('general.alignment', 'u32', ALIGN)
  for key, v in pairs { context_length = CONTEXT, embedding_length = WIDTH, block_count = LAYERS,
    feed_forward_length = FF, ['attention.head_count'] = HEADS, ['attention.head_count_kv'] = KV_HEADS,
    ['rope.dimension_count'] = WIDTH // HEADS } do
    f:set('llama.' .. key, 'u32', v)
  end
  f:set('llama.attention.layer_norm_rms_epsilon', 'f32', 1e-5)
  if pooling then f:set('llama.pooling_type', 'u32', pooling) end
  local n_tokens, id_of_byte = vocabulary(f)
  f:set('llama.vocab_size', 'u32', n_tokens)

  local allowed = {}
  for _, b in ipairs { (letters or ''):byte(1, -1) } do allowed[id_of_byte[b]] = true end
  local wide, narrow, out = spread(1.0), spread(0.12), spread(0.25)
  f:matrix('token_embd.weight', WIDTH, n_tokens, function(_, c) return c == 0 and 8.0 or wide() end)
  f:ones('output_norm.weight', WIDTH)
  f:matrix('output.weight', WIDTH, n_tokens, function(token, c)
    if c > 0 then return out() end
    return (not letters or allowed[token]) and 0.0 or -40.0
  end)
  -- matrices that write into the hidden state leave dimension 0 alone
  local function writer(row) return row == 0 and 0.0 or narrow() end
  local kv = WIDTH // HEADS * KV_HEADS
  for i = 0, LAYERS - 1 do
    local p = ('blk.%d.'):format(i)
    f:ones(p .. 'attn_norm.weight', WIDTH)
    f:ones(p .. 'ffn_norm.weight', WIDTH)
    f:matrix(p .. 'attn_q.weight', WIDTH, WIDTH, narrow)
    f:matrix(p .. 'attn_k.weight', WIDTH, kv, narrow)
    f:matrix(p .. 'attn_v.weight', WIDTH, kv, narrow)
    f:matrix(p .. 'attn_output.weight', WIDTH, WIDTH, writer)
    f:matrix(p .. 'ffn_gate.weight', WIDTH, FF, narrow)
    f:matrix(p .. 'ffn_up.weight', WIDTH, FF, narrow)
    f:matrix(p .. 'ffn_down.weight', FF, WIDTH, writer)
  end
  return f
end

gguf.letters = { alpha = 'abcdefgh', beta = 'ijklmnop', gamma = 'qrstuvwxyz' }

-- Writes all four into dir and returns their paths by name.
function gguf.write_all(dir)
  local paths = {}
  local function write(name, ...)
    paths[name] = gguf.model('tiny-' .. name, ...):save(('%s/tiny-%s.gguf'):format(dir, name))
  end
  write('alpha', 1, gguf.letters.alpha)
  write('beta', 2, gguf.letters.beta)
  write('gamma', 3, gguf.letters.gamma)
  write('embed', 4, nil, 1) -- 1: mean pooling
  return paths
end

if arg and arg[0] and arg[0]:match 'tiny_gguf%.lua$' then
  for _, path in pairs(gguf.write_all(arg[1] or error('tiny_gguf.lua DIR', 0))) do print(path) end
end
return gguf
