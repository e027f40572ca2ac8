-- Asks for seeds by Zipf's law with exponent 1.1 over SEEDS of them: the cumulative weights once, then a search for each request.
local count = tonumber(os.getenv("SEEDS") or "10000")
local upto = {}

function init(args)
  local sum = 0
  for k = 1, count do
    sum = sum + 1 / k ^ 1.1
    upto[k] = sum
  end
  math.randomseed(tonumber(os.getenv("TURN") or "1"))
end

function request()
  local want = math.random() * upto[count]
  local low, high = 1, count
  while low < high do
    local middle = math.floor((low + high) / 2)
    if upto[middle] < want then low = middle + 1 else high = middle end
  end
  return wrk.format("GET", "/generate?seed=" .. low)
end
