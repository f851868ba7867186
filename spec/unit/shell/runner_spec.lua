-- runner_spec.lua: the runner tells good from bad; every other spec is worth nothing without that.
local net = require 'spec.net'
local server = require 'spec.support.server'
local shell = require 'spec.shell'

-- Runs luaswap-spec on one spec file; returns its exit code, output and totals.
local function run(text, option)
  local dir = net.tmpdir()
  server.write_file(dir .. '/one_spec.lua', text)
  local argv = { shell.exe, dir, option }
  argv.stdout, argv.stderr, argv.cwd = dir .. '/out', 'stdout', dir
  argv.env = { LUASWAP_SPEC_TOTALS = dir .. '/totals', NO_COLOR = '1' }
  local p = assert(net.spawn(argv))
  local code, why = p:wait(30)
  return code or why, server.read_file(dir .. '/out'), server.read_file(dir .. '/totals')
end

describe('luaswap-spec', function()
  it('counts and ends with the result alone on the last line', function()
    local code, out, totals = run [[
      it('a', function() end)
      it('b', function() pending 'reason' end)
      describe('c', function() it('d', function() assert.equal(1, 1) end) end)
    ]]
    assert.equal(0, code)
    assert.equal('2 0 1\n', totals)
    assert.is_truthy(out:find('\n2 passed, 0 failed, 1 skipped\n$'))
    assert.is_truthy(out:find('skipped: b (', 1, true))
  end)

  it('shows failures with place, values and name, and ends with 1', function()
    local code, out, totals = run [[
      describe('outer', function()
        it('inner', function() assert.equal('want', 'got') end)
        it('breaks', function() error('with this') end)
      end)
    ]]
    assert.equal(1, code)
    assert.equal('0 2 0\n', totals)
    assert.is_truthy(out:find('FAILED: outer inner\n  at [^\n]*one_spec.lua:2'))
    assert.is_truthy(out:find("'want'", 1, true) and out:find("'got'", 1, true))
    assert.is_truthy(out:find('ERROR: outer breaks', 1, true) and out:find('with this', 1, true))
    assert.is_truthy(out:find('\n0 passed, 2 failed\n$'))
  end)

  it('counts what breaks outside of a test', function()
    for _, text in ipairs { 'it(', 'error "at load"', [[
      describe('x', function() teardown(function() error 'late' end) it('ok', function() end) end)]] } do
      local code, _, totals = run(text)
      assert.equal(1, code)
      assert.is_truthy(totals:find '^%d 1 0\n$')
    end
  end)

  it('keeps the place of its totals from the runs that a spec starts', function()
    assert.is_nil(os.getenv 'LUASWAP_SPEC_TOTALS')
  end)

  it('fails when there is nothing to run', function()
    local p = assert(net.spawn { shell.exe, net.tmpdir(), stdout = 'pipe', stderr = 'stdout' })
    assert.equal(1, p:wait(30))
    assert.is_truthy(p:read_stdout(5):find '0 passed, %d failed\n$')
  end)

  it('filters by name', function()
    local code, _, totals = run([[
      it('yes', function() end)
      it('no', function() error 'x' end)
    ]], '--filter=yes')
    assert.equal(0, code)
    assert.equal('1 0 0\n', totals)
  end)

  it('reports a script that fails by its exit status', function()
    local dir = net.tmpdir()
    local path = server.write_file(dir .. '/s.lua', 'local a = ... ; if a == "bad" then error "no" end')
    for arg, want in pairs { good = 0, bad = 1 } do
      local p = assert(net.spawn { shell.exe, '--run', path, arg, stderr = '/dev/null' })
      assert.equal(want, p:wait(30))
    end
  end)
end)
