-- routes_spec.lua: every endpoint is described in docs/http.md and asked for by some functional spec.
local files = require 'spec.support.files'

local function routes()
  local list = {}
  for method, path in files.read 'src/api/routes.def':gmatch '\nROUTE%("([%u*]+)", "([^"]+)"' do
    list[#list + 1] = { method = method, path = (path:gsub('%*.*$', '')) }
  end
  return list
end

-- The path as a whole word: not followed by more of a path.
local function mentions(text, path)
  local at = 1
  while true do
    local from, to = text:find(path, at, true)
    if not from then return false end
    if path:sub(-1) == '/' or not text:sub(to + 1, to + 1):find '[%w/_-]' then return true end
    at = to + 1
  end
end

describe('the table of routes', function()
  it('is read by this spec', function()
    assert.is_true(#routes() > 40)
  end)

  it('is in the documentation, line by line', function()
    local doc, missing = files.read 'docs/http.md', {}
    for _, r in ipairs(routes()) do
      if not mentions(doc, r.path) then missing[#missing + 1] = r.method .. ' ' .. r.path end
    end
    assert.equal('', table.concat(missing, '\n'))
  end)

  it('is exercised by functional specs', function()
    local text, missing = {}, {}
    for _, path in ipairs(files.list({ 'spec/functional' }, '_spec%.lua$')) do text[#text + 1] = files.read(path) end
    text = table.concat(text, '\n')
    for _, r in ipairs(routes()) do
      if not mentions(text, r.path) then missing[#missing + 1] = r.method .. ' ' .. r.path end
    end
    assert.equal('', table.concat(missing, '\n'))
  end)
end)
