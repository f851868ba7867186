-- output.lua: busted output handler of luaswap-spec. One line per spec file, each failure as soon as it
-- happens, and `N passed, N failed` at the end. With LUASWAP_SPEC_TOTALS=FILE the three counts are also written
-- to that file, for ./dev, which adds up several runs; FILE.now holds the name of the test that runs.
local base = require 'busted.outputHandlers.base'

return function()
  local busted = require 'busted'
  local handler = base()
  local passed, failed, skipped = 0, 0, 0
  local totals = require 'spec.shell'.totals
  local file_failed, file_passed, file_skipped, failures, slow = 0, 0, 0, {}, {}
  local color = os.getenv 'NO_COLOR' == nil and (os.getenv 'TERM' or 'dumb') ~= 'dumb'
    and require 'term'.isatty(io.stdout)

  local function paint(code, text)
    return color and ('\27[%sm%s\27[0m'):format(code, text) or text
  end

  local function show(element, parent, message, trace, kind)
    local name = handler.getFullName(element)
    local text = type(message) == 'string' and message or require 'pl.pretty'.write(message)
    local at = element.trace and element.trace.short_src
      and (element.trace.short_src .. ':' .. element.trace.currentline) or ''
    io.write('\n', paint('31', kind .. ': ' .. name), '\n  at ', at, '\n  ', (text:gsub('\n', '\n  ')), '\n')
    if parent and parent.randomseed then
      io.write('  random seed of the order: ', tostring(parent.randomseed), '\n')
    end
    local back = trace and trace.traceback
    if type(back) == 'string' and back ~= '' then
      io.write('  ', (back:gsub('^%s*\n', ''):gsub('\n', '\n  ')), '\n')
    end
    io.flush()
    failures[#failures + 1] = (at ~= '' and at .. ': ' or '') .. name
  end

  function handler.fileStart()
    file_failed, file_passed, file_skipped = 0, 0, 0
    return nil, true
  end

  function handler.fileEnd(file)
    local line = ('%-52s %4d'):format(file.name, file_passed)
    if file_failed > 0 then line = line .. paint('31', (' %d FAILED'):format(file_failed)) end
    if file_skipped > 0 then line = line .. (' %d skipped'):format(file_skipped) end
    if (file.duration or 0) >= 0.5 then line = line .. (' (%.1f s)'):format(file.duration) end
    io.write(line, '\n')
    io.flush()
    return nil, true
  end

  -- Should the process end in the middle, ./dev can say where.
  local now = totals and assert(io.open(totals .. '.now', 'w'))
  function handler.testStart(element)
    if now then
      now:seek 'set'
      now:write(handler.getFullName(element), '\n')
      now:flush()
    end
    return nil, true
  end

  function handler.testEnd(element, _, status)
    if (element.duration or 0) >= 2 then slow[#slow + 1] = { element.duration, handler.getFullName(element) } end
    if status == 'success' then
      passed, file_passed = passed + 1, file_passed + 1
    elseif status == 'pending' then
      skipped, file_skipped = skipped + 1, file_skipped + 1
    else
      failed, file_failed = failed + 1, file_failed + 1
    end
    return nil, true
  end

  function handler.pending(element, _, message)
    io.write('skipped: ', handler.getFullName(element),
      type(message) == 'string' and ' (' .. message .. ')' or '', '\n')
    return nil, true
  end

  function handler.failure(element, parent, message, trace)
    show(element, parent, message, trace, 'FAILED')
    -- what goes wrong outside a test (a file that does not load, a teardown) has no test to count for it
    if element.descriptor ~= 'it' then failed, file_failed = failed + 1, file_failed + 1 end
    return nil, true
  end

  function handler.error(element, parent, message, trace)
    show(element, parent, message, trace, 'ERROR')
    if element.descriptor ~= 'it' then failed, file_failed = failed + 1, file_failed + 1 end
    return nil, true
  end

  function handler.suiteEnd()
    if #slow > 0 then io.write 'slow:\n' end
    for _, e in ipairs(slow) do io.write(('  %5.1f s  %s\n'):format(e[1], e[2])) end
    if #failures > 0 then
      io.write('\n')
      for _, f in ipairs(failures) do io.write(paint('31', 'failed: '), f, '\n') end
    end
    io.write(('%d passed, %d failed%s\n'):format(passed, failed,
      skipped > 0 and (', %d skipped'):format(skipped) or ''))
    io.flush()
    if totals then
      local f = assert(io.open(totals, 'w'))
      f:write(passed, ' ', failed, ' ', skipped, '\n')
      f:close()
    end
    return nil, true
  end

  busted.subscribe({ 'file', 'start' }, handler.fileStart)
  busted.subscribe({ 'file', 'end' }, handler.fileEnd)
  busted.subscribe({ 'test', 'start' }, handler.testStart)
  busted.subscribe({ 'test', 'end' }, handler.testEnd, { predicate = handler.cancelOnPending })
  busted.subscribe({ 'pending' }, handler.pending)
  busted.subscribe({ 'suite', 'end' }, handler.suiteEnd)
  busted.subscribe({ 'failure' }, handler.failure)
  busted.subscribe({ 'error' }, handler.error)
  return handler
end
