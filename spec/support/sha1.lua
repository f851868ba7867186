-- sha1.lua: SHA-1 (FIPS 180-4) and base64 (RFC 4648), for the websocket handshake of the fake model only.
local sha1 = {}

local function rol(x, n) return ((x << n) | (x >> (32 - n))) & 0xffffffff end

function sha1.digest(text)
  local h0, h1, h2, h3, h4 = 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0
  local pad = (55 - #text) % 64
  text = text .. '\x80' .. ('\0'):rep(pad) .. string.pack('>I8', #text * 8)
  for at = 1, #text, 64 do
    local w = { string.unpack('>' .. ('I4'):rep(16), text, at) }
    for i = 17, 80 do w[i] = rol(w[i - 3] ~ w[i - 8] ~ w[i - 14] ~ w[i - 16], 1) end
    local a, b, c, d, e = h0, h1, h2, h3, h4
    for i = 1, 80 do
      local f, k
      if i <= 20 then f, k = (b & c) | (~b & d), 0x5a827999
      elseif i <= 40 then f, k = b ~ c ~ d, 0x6ed9eba1
      elseif i <= 60 then f, k = (b & c) | (b & d) | (c & d), 0x8f1bbcdc
      else f, k = b ~ c ~ d, 0xca62c1d6 end
      a, b, c, d, e = (rol(a, 5) + (f & 0xffffffff) + e + k + w[i]) & 0xffffffff, a, rol(b, 30), c, d
    end
    h0, h1, h2 = (h0 + a) & 0xffffffff, (h1 + b) & 0xffffffff, (h2 + c) & 0xffffffff
    h3, h4 = (h3 + d) & 0xffffffff, (h4 + e) & 0xffffffff
  end
  return string.pack('>I4I4I4I4I4', h0, h1, h2, h3, h4)
end

local alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'

function sha1.base64(bytes)
  local out = {}
  for i = 1, #bytes, 3 do
    local a, b, c = bytes:byte(i, i + 2)
    local n = a << 16 | (b or 0) << 8 | (c or 0)
    for j = 0, 3 do
      local v = n >> (18 - 6 * j) & 63
      out[#out + 1] = (j == 2 and not b or j == 3 and not c) and '=' or alphabet:sub(v + 1, v + 1)
    end
  end
  return table.concat(out)
end

return sha1
