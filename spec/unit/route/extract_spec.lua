-- Which model a request names: the reference's answers and the places where a name may hide.
local R = require 'spec.route_request'
local json = require 'dkjson'

local JSON = 'application/json'

describe('extract vectors', function()
  local seen = 0
  for line in io.lines('spec/vectors/model_extract.jsonl') do
    local v = json.decode(line, 1, json.null)
    local type = v.content_type ~= json.null and v.content_type or nil
    seen = seen + 1
    it(v.id .. ': ' .. v.note, function()
      local model, stream = R.extract(v.method, type, v.query, v.body)
      assert.equal(v.expect.model, model)
      if v.expect.stream ~= nil then assert.equal(v.expect.stream, stream) end
      if model == '' then assert.is_false(stream) end
      if type and type:find 'multipart' and v.method ~= 'GET' then
        for seed = 1, 30 do
          local m, s = R.extract_pieces(type, v.query, v.body, seed)
          assert.equal(model, m, 'seed ' .. seed)
          assert.equal(stream, s, 'seed ' .. seed)
        end
      end
    end)
  end
  it('are all there', function() assert.equal(77, seen) end)
end)

describe('extract', function()
  it('refuses two models in a JSON body, in any spelling', function()
    for _, body in ipairs {
      '{"model":"a","model":"b"}', [[{"model":"a","x":{},"mod\u0065l":"a"}]], [[{"\u006Dodel":"a","model":"a"}]],
    } do
      local m, err = R.extract('POST', JSON, '', body)
      assert.is_nil(m)
      assert.equal('ERR_DUPLICATE', err)
    end
    assert.equal('a', (R.extract('POST', JSON, '', '{"model":"a","x":{"model":"b"}}')))
  end)
  it('says where the model was', function()
    local function where(...) return (select(3, R.extract(...))) end
    local form = 'application/x-www-form-urlencoded'
    assert.equal('json', where('POST', JSON .. '; charset=utf-8', 'model=x', '{"model":"a"}'))
    assert.equal('query', where('GET', JSON, 'model=x', ''))
    assert.equal('query', where('HEAD', nil, 'model=x', ''))
    assert.equal('form', where('POST', form, 'model=x', 'model=y'))
    assert.equal('query', where('POST', form, 'model=x', 'a=y'))
    assert.equal('query', where('POST', 'text/plain', 'model=x', ''))
    local multi = 'multipart/form-data; boundary=B'
    local body = '--B\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--B--'
    assert.equal('multipart', where('POST', multi, '', body))
    assert.equal('query', where('POST', multi, 'model=x', body))
  end)
  it('reads a form body only with the methods that have one, and never beyond 10 MiB', function()
    local form = 'Application/X-WWW-Form-Urlencoded ; charset=utf-8'
    assert.equal('a b', (R.extract('PATCH', form, '', 'model=a+b')))
    assert.equal('q', (R.extract('DELETE', form, 'model=q', 'model=b')))
    assert.equal('', (R.extract('POST', form, 'model=q', 'model=b&x=' .. ('y'):rep(10 * 1024 * 1024))))
  end)
  it('lets a malformed pair in the query spoil a form, too', function()
    local form = 'application/x-www-form-urlencoded'
    assert.equal('', (R.extract('POST', form, 'x=%zz', 'model=b&stream=true')))
    assert.equal('', (R.extract('POST', form, 'a;b', 'model=b')))
    assert.equal('b', (R.extract('POST', form, 'x=1', 'model=b')))
  end)
  it('decodes names of fields', function()
    assert.equal('x', (R.extract('GET', nil, 'mod%65l=x', '')))
    assert.equal('', (R.extract('GET', nil, 'mod%6l=x', '')))
    assert.equal('y', (R.extract('GET', nil, ('%41'):rep(100) .. '=1&model=y', '')))
    assert.equal('', (R.extract('POST', 'text/plain', ('%41'):rep(100) .. '%4=1&model=y', '')))
    assert.equal('a=b', (R.extract('GET', nil, '&&model=a=b&', '')))
    assert.equal('', (R.extract('GET', nil, 'model=a%', '')))
  end)
end)

describe('extract_form_set', function()
  it('replaces the first value, drops further ones and leaves the rest alone', function()
    assert.equal('a=1%20&model=x%2Fy%20z&b=+2', R.form_set('a=1%20&model=old&b=+2&model=other', 'model', 'x/y z'))
    assert.equal('mod%65l=n&c', R.form_set('mod%65l=o&c', 'model', 'n'))
    assert.equal('a=1&model=n', R.form_set('a=1', 'model', 'n'))
    assert.equal('model=n', R.form_set('', 'model', 'n'))
    assert.equal('model=%D0%B2', R.form_set('model', 'model', 'в'))
  end)
end)

describe('multipart rewriting', function()
  local type = 'multipart/form-data; boundary="--b b"'
  local function part(head, content) return '----b b\r\n' .. head .. '\r\n\r\n' .. content .. '\r\n' end
  local function field(name, content)
    return part('Content-Disposition: form-data; name="' .. name .. '"', content)
  end
  local file = part('Content-Disposition: form-data; name="model"; filename="model.bin"\r\n' ..
    'Content-Type: audio/wav\r\nX-Y: z', 'RIFF\0\r\n----b \r\r\n----b bx\r\nmodel')
  local body = 'preamble\r\n' .. field('a', '1') .. field('model', 'old\r\n----b name') .. file .. field('model', '') ..
    '----b b--\r\nepilogue ----b b'
  local function want(v)
    return 'preamble\r\n' .. field('a', '1') .. field('model', v) .. file .. field('model', v) ..
      '----b b--\r\nepilogue ----b b'
  end

  it('keeps types, order and bytes of all parts, however the body is cut', function()
    for piece = 1, 80 do
      for _, v in ipairs { 'new-name/with:tag', '', 'x' } do
        local streamed, spliced, length = R.rewrite(type, body, v, piece)
        assert.equal(want(v), streamed, 'piece ' .. piece)
        assert.equal(want(v), spliced, 'piece ' .. piece)
        assert.equal(#streamed, length)
      end
    end
  end)
  it('leaves a body without the field as it is', function()
    local other = field('a', '1') .. file .. '----b b--'
    local streamed, spliced, length = R.rewrite(type, other, 'new', 7)
    assert.equal(other, streamed)
    assert.equal(other, spliced)
    assert.equal(#other, length)
  end)
  it('refuses what cannot be rewritten safely', function()
    for _, bad in ipairs {
      field('model', 'x'), -- not closed
      part('Content-Disposition: form-data; name="a"\r\n folded: 1', 'x') .. '----b b--',
      part('Content-Disposition: form-data; name="a"\r\nContent-Disposition: form-data; name="model"', 'x') ..
        '----b b--',
      part('Content-Disposition: form-data; name="a\rb"', 'x') .. '----b b--',
      part('no colon', 'x') .. '----b b--',
      '----b bjunk\r\n', '----b b junk\r\n', '----b b-\r\n', '----b b--junk',
      (field('model', 'x'):gsub('\r\n', '\n', 1)) .. '----b b--\r\n',
      (field('model', 'x'):gsub('\r\n', '\n')) .. '----b b--\r\n',
      field('model', ('x'):rep(5000)) .. '----b b--',
      field('model', 'x'):rep(17) .. '----b b--',
      field('a', 'x'):rep(1001) .. '----b b--',
      '----b b\r\nContent-Disposition: form-data; name="model"\r\n\r\n----b b--', -- no room for a value
      part('X: ' .. ('y'):rep(17000), '') .. '----b b--',
    } do
      assert.is_nil((R.rewrite(type, bad, 'new')), bad:sub(1, 200))
    end
  end)
  it('takes disposition parameters in all their spellings', function()
    local function model(head)
      return (R.extract('POST', 'multipart/form-data; boundary=B', '', '--B\r\n' .. head .. '\r\n\r\nm\r\n--B--'))
    end
    assert.equal('m', model 'content-disposition: FORM-DATA;NAME=model')
    -- a backslash counts only before a quote
    assert.equal('', model [[Content-Disposition: form-data ; name = "mod\el"]])
    assert.equal('m', model [[Content-Disposition: form-data ; name = "model" ; x="a\"; name=\"b"]])
    assert.equal('m', model 'Content-Disposition: form-data; name="model"; filename=""')
    assert.equal('m', model 'Content-Disposition: form-data; name="model";')
    assert.equal('', model 'Content-Disposition: form-data; name="model"; filename*=utf-8\'\'x')
    assert.equal('', model 'Content-Disposition: form-data; name="model"; name="model"')
    assert.equal('', model 'Content-Disposition: attachment; name="model"')
    assert.equal('', model 'Content-Disposition: form-data; name="model')
    assert.equal('', model 'X: y')
  end)
  it('takes the boundary from the header', function()
    local text = '--B\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--B--'
    local function model(type_) return (R.extract('POST', type_, '', text)) end
    assert.equal('m', model 'multipart/form-data; charset=x; BOUNDARY=B')
    assert.equal('', model 'Multipart/Form-Data; boundary=B') -- the type is matched as it is written
    assert.equal('m', model 'multipart/form-data ;boundary="B"')
    assert.equal('', model 'multipart/form-data')
    assert.equal('', model 'multipart/form-data; boundary=')
    assert.equal('', model 'multipart/form-data; boundary=B; boundary=B')
    assert.equal('', model 'x-multipart/form-data; boundary=B')
    assert.equal('', model('multipart/form-data; boundary=' .. ('B'):rep(71)))
  end)
end)
