-- banned_spec.lua: libc functions that have no place in the program, with what to use instead.
local files = require 'spec.support.files'

local banned = {
  strcpy = 'str, strbuf', strcat = 'strbuf', stpcpy = 'strbuf', strncpy = 'memcpy with a checked length',
  strncat = 'strbuf', sprintf = 'snprintf, strbuf_addf', vsprintf = 'vsnprintf', gets = 'a read with a limit',
  strtok = 'str_cut, str_item', strtok_r = 'str_cut, str_item', atoi = 'str_to_i64', atol = 'str_to_i64',
  atoll = 'str_to_i64', atof = 'the codec', sscanf = 'str_cut and str_to_u64', scanf = 'the codec',
  gmtime = 'gmtime_r', localtime = 'localtime_r', ctime = 'strftime', asctime = 'strftime',
  alloca = 'arena', strdup = 'mem_strdup, arena_dup', strndup = 'arena_dup', asprintf = 'arena_printf',
  vasprintf = 'arena_printf', tmpnam = 'memfd_create, O_TMPFILE', mktemp = 'mkstemp', tempnam = 'mkstemp',
  system = 'proc', popen = 'proc', rand = 'rand_u64', srand = 'rand_seed', random = 'rand_u64',
  drand48 = 'rand_unit', strerror_l = 'strerror', cJSON_GetObjectItem = 'the case-sensitive form',
  select = 'io', sleep = 'a timer', usleep = 'a timer', nanosleep = 'a timer',
  strlcpy = 'str', setjmp = 'a return value', longjmp = 'a return value',
}
-- Where one of them is right after all: path -> names, with the reason.
local allowed = {
  -- the supervisor is a process of its own, without a loop
  ['src/process/supervise.c'] = { nanosleep = true },
}

describe('banned functions', function()
  it('are called nowhere in src/', function()
    local bad = {}
    for _, path in ipairs(files.list({ 'src' }, '%.[ch]$')) do
      local line = 0
      for text in (files.bare_c(files.read(path):sub(2)) .. '\n'):gmatch '(.-)\n' do
        line = line + 1
        for before, name in (' ' .. text):gmatch '([^%w_])([%a_][%w_]*)%f[^%w_]%s*%(' do
          -- fields and methods of our own may have such a name
          if banned[name] and before ~= '.' and before ~= '>' and not (allowed[path] or {})[name] then
            bad[#bad + 1] = ('%s:%d: %s (use %s)'):format(path, line, name, banned[name])
          end
        end
      end
    end
    assert.equal('', table.concat(bad, '\n'))
  end)

  it('are found by the search that this spec uses', function()
    local text = files.bare_c 'a = "strcpy(x)"; /* strcpy(y) */ // gets(z)\nif (c == \'"\') strcpy(d, s);'
    assert.is_nil(text:match 'gets')
    local _, n = text:gsub('strcpy', '')
    assert.equal(1, n)
  end)
end)
