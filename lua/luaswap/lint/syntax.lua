-- syntax.lua: Lua source as a tree, for luaswap.lint. Takes only text that Lua itself has compiled, so it reads and does
-- not judge. parse(text) -> a function node: { t = 'func', params, body, line }.
--
-- Statements: local names values, localfunc name fn, assign targets values, call e, do body, while cond body, repeat
-- body cond, if clauses (cond, body), for names values body, return values; others are left out.
-- Expressions: const v, name v, index obj key, call fn args, method obj v args, func, table items (key, value), op list.
local syntax = {}

local keywords = {}
for w in ('and break do else elseif end false for function goto if in local nil not or repeat return then true until while')
  :gmatch '%a+' do
  keywords[w] = true
end

-- ---- tokens: kind and value side by side: name, word, string, number, op

local escapes = { n = '\n', t = '\t', r = '\r', a = '\a', b = '\b', f = '\f', v = '\v', ['\\'] = '\\', ['"'] = '"', ["'"] = "'" }

local function unescape(s)
  if not s:find('\\', 1, true) then return s end
  s = s:gsub('\\z%s*', '')
  return (s:gsub('\\(%d%d?%d?)', function(d) return string.char(tonumber(d) & 255) end)
    :gsub('\\x(%x%x)', function(h) return string.char(tonumber(h, 16)) end):gsub('\\(.)', escapes))
end

local function tokens(text)
  local kinds, values, lines, n, i, line = {}, {}, {}, 0, 1, 1
  local function add(kind, value)
    n = n + 1
    kinds[n], values[n], lines[n] = kind, value, line
  end
  local function skip(s)
    for _ in s:gmatch '\n' do line = line + 1 end
    i = i + #s
  end
  if text:sub(1, 3) == '\239\187\191' then i = 4 end
  if text:sub(i, i) == '#' then skip(text:match('^[^\n]*', i)) end
  while true do
    skip(text:match('^%s*', i))
    if i > #text then break end
    local long = text:match('^%-%-%[(=*)%[', i)
    if long then
      skip(text:match('^%-%-%[=*%[.-%]' .. long .. '%]', i) or text:sub(i))
    elseif text:find('^%-%-', i) then
      skip(text:match('^[^\n]*', i))
    else
      local name = text:match('^[%a_][%w_]*', i)
      local eq = text:match('^%[(=*)%[', i)
      local quote = text:match('^["\']', i)
      if name then
        add(keywords[name] and 'word' or 'name', name)
        i = i + #name
      elseif eq then
        local all = text:match('^%[=*%[.-%]' .. eq .. '%]', i) or text:sub(i)
        add('string', all:sub(#eq + 3, -#eq - 3):gsub('^\r?\n', ''))
        skip(all)
      elseif quote then
        local k = i + 1
        while k <= #text and text:sub(k, k) ~= quote do
          k = text:sub(k, k + 1) == '\\z' and text:match('^\\z%s*()', k) or k + (text:sub(k, k) == '\\' and 2 or 1)
        end
        add('string', unescape(text:sub(i + 1, k - 1)))
        skip(text:sub(i, k))
      elseif text:find('^%.?%d', i) then
        local num = text:match('^0[xX][%x%.]*[pP]?[+-]?%x*', i) or text:match('^[%d%.]*[eE][+-]?%d+', i) or text:match('^[%d%.]+', i)
        if num:find '^0[xX]' and not num:find '[pP]' then num = text:match('^0[xX][%x%.]*', i) end
        add('number', tonumber(num))
        i = i + #num
      else
        local op = text:match('^%.%.%.', i) or text:match('^%.%.', i) or text:match('^[=~<>]=', i) or text:match('^//', i) or
          text:match('^::', i) or text:match('^<<', i) or text:match('^>>', i) or text:sub(i, i)
        add('op', op)
        i = i + #op
      end
    end
  end
  add('end', 'end of file')
  return kinds, values, lines
end

-- ---- the tree

local binary = {}
for op in ('+ - * / // % ^ .. == ~= < <= > >= & | ~ << >>'):gmatch '%S+' do binary[op] = true end

function syntax.parse(text)
  local kinds, values, lines = tokens(text)
  local at = 1
  local expr, block, func_body, simple

  local function is(v) return values[at] == v and kinds[at] ~= 'string' and kinds[at] ~= 'name' end
  local function take(v)
    if not is(v) then return false end
    at = at + 1
    return true
  end
  local function need(v)
    if not take(v) then
      error(('%d: %s expected near %s'):format(lines[at], v, tostring(values[at])), 0)
    end
  end
  local function name()
    if kinds[at] ~= 'name' then error(('%d: a name expected near %s'):format(lines[at], tostring(values[at])), 0) end
    at = at + 1
    return values[at - 1]
  end
  local function node(t, line, fields)
    fields.t, fields.line = t, line or lines[at]
    return fields
  end
  local function expr_list()
    local list = { expr() }
    while take ',' do list[#list + 1] = expr() end
    return list
  end

  local function table_node()
    local line, items = lines[at], {}
    need '{'
    while not is '}' do
      local item = { line = lines[at] }
      if kinds[at] == 'name' and values[at + 1] == '=' and kinds[at + 1] == 'op' then
        item.key = node('const', lines[at], { v = name() })
        need '='
      elseif take '[' then
        item.key = expr()
        need ']'
        need '='
      end
      item.value = expr()
      items[#items + 1] = item
      if not take ',' and not take ';' then break end
    end
    need '}'
    return node('table', line, { items = items })
  end

  local function args()
    if kinds[at] == 'string' then
      at = at + 1
      return { node('const', lines[at - 1], { v = values[at - 1] }) }
    end
    if is '{' then return { table_node() } end
    need '('
    local list = is ')' and {} or expr_list()
    need ')'
    return list
  end

  -- name or (e), then any of .x [e] :m() ()
  local function suffixed()
    local line, e = lines[at]
    if take '(' then
      e = expr()
      need ')'
    else
      e = node('name', line, { v = name() })
    end
    while true do
      line = lines[at]
      if take '.' then
        e = node('index', line, { obj = e, key = node('const', line, { v = name() }) })
      elseif take '[' then
        e = node('index', line, { obj = e, key = expr() })
        need ']'
      elseif take ':' then
        local m = name()
        e = node('method', line, { obj = e, v = m, args = args() })
      elseif is '(' or is '{' or kinds[at] == 'string' then
        e = node('call', line, { fn = e, args = args() })
      else
        return e
      end
    end
  end

  function simple()
    local kind, value, line = kinds[at], values[at], lines[at]
    if kind == 'string' or kind == 'number' then
      at = at + 1
      return node('const', line, { v = value })
    end
    if take 'nil' then return node('const', line, {}) end
    if take 'true' or take 'false' then return node('const', line, { v = value == 'true' }) end
    if take '...' then return node('op', line, { list = {}, v = '...' }) end
    if take 'function' then return func_body(line) end
    if is '{' then return table_node() end
    return suffixed()
  end

  -- How operators bind does not matter here: an expression is the list of what it is made of; `and` and `or` are kept.
  function expr()
    local line, list, ops, plain = lines[at], {}, {}, true
    repeat
      while take '-' or take 'not' or take '#' or take '~' do plain = false end
      list[#list + 1] = simple()
      local op = values[at]
      local more = kinds[at] == 'word' and (op == 'and' or op == 'or') or kinds[at] == 'op' and binary[op]
      if more then
        ops[#ops + 1] = op
        at = at + 1
      end
    until not more
    if #list == 1 and plain then return list[1] end
    return node('op', line, { list = list, ops = ops, plain = plain })
  end

  function func_body(line, self)
    local f = node('func', line, { params = self and { 'self' } or {} })
    need '('
    while not is ')' do
      if not take '...' then f.params[#f.params + 1] = name() end
      if not take ',' then break end
    end
    need ')'
    f.body = block()
    need 'end'
    return f
  end

  local function statement()
    local line = lines[at]
    if take ';' or take 'break' then return nil end
    if take '::' then
      name()
      need '::'
      return nil
    end
    if kinds[at] == 'word' and take 'goto' then
      name()
      return nil
    end
    if take 'do' then
      local b = block()
      need 'end'
      return node('do', line, { body = b })
    end
    if take 'while' then
      local c = expr()
      need 'do'
      local b = block()
      need 'end'
      return node('while', line, { cond = c, body = b })
    end
    if take 'repeat' then
      local b = block()
      need 'until'
      return node('repeat', line, { body = b, cond = expr() })
    end
    if take 'if' then
      local clauses = {}
      repeat
        local c = expr()
        need 'then'
        clauses[#clauses + 1] = { cond = c, body = block() }
      until not take 'elseif'
      if take 'else' then clauses[#clauses + 1] = { body = block() } end
      need 'end'
      return node('if', line, { clauses = clauses })
    end
    if take 'for' then
      local names = { name() }
      local numeric = is '='
      while take ',' do names[#names + 1] = name() end
      if not take '=' then need 'in' end
      local list = expr_list()
      need 'do'
      local b = block()
      need 'end'
      return node('for', line, { names = names, values = list, body = b, numeric = numeric })
    end
    if take 'function' then
      local target, self = node('name', line, { v = name() }), false
      while is '.' or is ':' do
        self = is ':'
        at = at + 1
        target = node('index', line, { obj = target, key = node('const', line, { v = name() }) })
      end
      return node('assign', line, { targets = { target }, values = { func_body(line, self) } })
    end
    if take 'local' then
      if take 'function' then
        local n = name()
        return node('localfunc', line, { name = n, fn = func_body(line) })
      end
      local names = {}
      repeat
        names[#names + 1] = name()
        if take '<' then
          name()
          need '>'
        end
      until not take ','
      return node('local', line, { names = names, values = take '=' and expr_list() or {} })
    end
    if take 'return' then
      local list = {}
      if not (is ';' or is 'end' or is 'else' or is 'elseif' or is 'until' or kinds[at] == 'end') then list = expr_list() end
      take ';'
      return node('return', line, { values = list })
    end
    local e = suffixed()
    if is '=' or is ',' then
      local targets = { e }
      while take ',' do targets[#targets + 1] = suffixed() end
      need '='
      return node('assign', line, { targets = targets, values = expr_list() })
    end
    return node('call', line, { e = e, fn = nil })
  end

  function block()
    local list = {}
    while kinds[at] ~= 'end' and not (is 'end' or is 'else' or is 'elseif' or is 'until') do
      local s = statement()
      if s then list[#list + 1] = s end
    end
    return list
  end

  local main = node('func', 1, { params = {} })
  main.body = block()
  if kinds[at] ~= 'end' then error(('%d: unexpected %s'):format(lines[at], tostring(values[at])), 0) end
  return main
end

return syntax
