-- layers_spec.lua: who may include whom (docs/architecture.md), against every #include under src/. The table
-- is the one that builds the program: the luaswap_folder() calls of CMakeLists.txt.
local files = require 'spec.support.files'

local foreign = {
  ['uv.h'] = { 'src/io/', 'spec/bench/' }, -- the bare relay that the benchmark compares with
  ['lua.h'] = { 'src/policy/', 'spec/' },
  ['lauxlib.h'] = { 'src/policy/', 'spec/' },
  ['lualib.h'] = { 'src/policy/', 'spec/' },
  ['llhttp.h'] = { 'src/codec/' },
  ['cjson/cJSON.h'] = { 'src/codec/' },
  ['yaml.h'] = { 'src/codec/' },
  ['pcre2.h'] = { 'src/route/' },
  ['sqlite3.h'] = { 'src/metrics/' },
  ['openssl/ssl.h'] = { 'src/io/' },
  ['openssl/err.h'] = { 'src/io/' },
  ['openssl/x509v3.h'] = { 'src/io/' },
}

-- folder -> set of folders that it may include (itself too)
local function read_table()
  local may = {}
  for call in files.read 'CMakeLists.txt':gmatch '\nluaswap_folder(%b())' do
    local name, rest = call:match '^%(([%w_]+)(.*)%)$'
    may[name] = { [name] = true }
    for used in ((rest:match 'USES(.*)' or ''):gsub('LINK.*', '')):gmatch '[%w_]+' do may[name][used] = true end
  end
  return may
end

describe('layers', function()
  local may = read_table()

  it('have a table without cycles, and every folder of src/ is in it', function()
    local seen = {}
    for name in files.read 'CMakeLists.txt':gmatch '\nluaswap_folder%(([%w_]+)' do
      for used in pairs(may[name]) do
        assert(used == name or seen[used], name .. ' uses ' .. used .. ', which stands below it')
      end
      seen[name] = true
    end
    for _, path in ipairs(files.list({ 'src' }, '%.[ch]$')) do
      local folder = path:match '^src/([^/]+)/'
      assert(seen[folder], path .. ': its folder is no luaswap_folder() of CMakeLists.txt')
    end
  end)

  it('are kept by every #include of src/', function()
    local bad = {}
    for _, path in ipairs(files.list({ 'src' }, '%.[ch]$')) do
      local own = path:match '^src/([^/]+)/'
      for line, quoted in files.read(path):gmatch '\n(#%s*include%s+"([^"]+)")' do
        local folder = quoted:match '^([^/]+)/'
        if not folder then
          bad[#bad + 1] = path .. ': written without its folder: ' .. line
        elseif not (may[own] or {})[folder] then
          bad[#bad + 1] = ('%s: %s may not include %s'):format(path, own, quoted)
        end
      end
    end
    assert.equal('', table.concat(bad, '\n'))
  end)

  it('keep each foreign library in its folder', function()
    local bad = {}
    for _, path in ipairs(files.list({ 'src', 'spec' }, '%.[ch]$')) do
      for name in files.read(path):gmatch '\n#%s*include%s+[<"]([^>"]+)[>"]' do
        local homes = foreign[name]
        local ok = not homes
        for _, home in ipairs(homes or {}) do ok = ok or path:sub(1, #home) == home end
        -- the specs may use a library as an oracle, but never libuv
        ok = ok or (path:match '^spec/' and name ~= 'uv.h')
        if not ok then bad[#bad + 1] = ('%s includes <%s>'):format(path, name) end
      end
    end
    assert.equal('', table.concat(bad, '\n'))
  end)
end)
