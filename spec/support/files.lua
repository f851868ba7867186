-- files.lua: the project's own files, for the lint specs.
local dir = require 'pl.dir'
local shell = require 'spec.shell'

local files = {}

-- Text of a file, by its path from the project's root; begins with a newline, so that '\n#include' also finds
-- the first line.
function files.read(path)
  local f = assert(io.open(shell.root .. '/' .. path, 'rb'))
  local text = f:read 'a'
  f:close()
  return '\n' .. text
end

-- Paths from the root of the files under the given folders whose path matches the pattern, sorted.
function files.list(folders, pattern)
  local list = {}
  for _, folder in ipairs(folders) do
    local base = shell.root .. '/' .. folder
    if require 'pl.path'.isdir(base) then
      for _, path in ipairs(dir.getallfiles(base)) do
        local short = path:sub(#shell.root + 2)
        if short:find(pattern) then list[#list + 1] = short end
      end
    end
  end
  table.sort(list)
  return list
end

-- C source without comments, strings and character literals; line numbers stay the same.
function files.bare_c(text)
  local out, at = {}, 1
  local function blank(s) out[#out + 1] = (s:gsub('[^\n]', ' ')) end
  while at <= #text do
    local from = text:find('["\'/]', at)
    if not from then break end
    out[#out + 1] = text:sub(at, from - 1)
    local c, to = text:sub(from, from), nil
    if text:sub(from, from + 1) == '/*' then
      to = select(2, text:find('*/', from + 2, true)) or #text
    elseif text:sub(from, from + 1) == '//' then
      to = (text:find('\n', from, true) or #text + 1) - 1
    elseif c ~= '/' then
      to = from + 1
      while to <= #text and text:sub(to, to) ~= c do
        to = to + (text:sub(to, to) == '\\' and 2 or 1)
      end
    end
    if to then blank(text:sub(from, to)) else out[#out + 1] = c end
    at = (to or from) + 1
  end
  out[#out + 1] = text:sub(at)
  return table.concat(out)
end

return files
