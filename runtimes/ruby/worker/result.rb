# What a function returned, as JSON in whole. Ruby's own encoder would write any object,
# as its text, so the value is gone through here.

module Envoke
  class TooLarge < StandardError; end
  class UnserializableResult < StandardError; end

  class Encoder
    MAX_DEPTH = 1000

    def initialize(limit) = (@limit, @json, @path, @around = limit, +'', [], {}.compare_by_identity)

    def encode(value)
      write(value)
      check
      @json
    end

    private

    def write(value)
      case value
      when nil then @json << 'null'
      when true, false, Integer then @json << value.to_s
      when Float then @json << (value.finite? ? value : refuse("is #{value}")).to_s
      when String, Symbol then @json << quote(value)
      when Array then nest(value, '[', ']') { |item, i| step(i, item) }
      when Hash
        nest(value, '{', '}') do |(key, item), _|
          refuse("has a key that is #{a(key)}") unless String === key || Symbol === key || Integer === key
          @json << quote(key) << ':'
          step(key, item)
        end
      else refuse("is #{a(value)}")
      end
    end

    def nest(value, first, last)
      refuse('is circular') if @around[value]
      (@path.clear; refuse('is nested too deeply')) if @path.size > MAX_DEPTH
      @around[value] = true
      @json << first
      value.each_with_index do |item, i|
        @json << ',' if i > 0
        yield item, i
        check
      end
      @json << last
      @around.delete(value)
    end

    def check
      raise TooLarge, "the result is larger than #{@limit} bytes of JSON" if @json.bytesize > @limit
    end

    def step(key, item)
      @path.push(key)
      write(item)
      @path.pop
    end

    # A text that is no Unicode would arrive as less than it is.
    def quote(value)
      text = value.to_s.encode(Encoding::UTF_8)
      text.valid_encoding? ? JSON.generate(text) : refuse('is text that is no UTF-8')
    rescue EncodingError
      refuse('is text that is no UTF-8')
    end

    def a(value) = "a #{Object.instance_method(:class).bind_call(value)}"

    def refuse(fault)
      steps = @path.map { |key| Integer === key ? "[#{key}]" : key.match?(/\A[[:alpha:]_]\w*\z/) ? ".#{key}" : "[#{key.to_s.to_json}]" }
      raise UnserializableResult, "result#{steps.join} #{fault}"
    end
  end
end
