MOST_PROMPTS = 48
def prompt_bytes(config, tokens, dtype, **_):
    t = config.get_text_config()
    hd = getattr(t, "head_dim", None) or t.hidden_size // t.num_attention_heads
    kv = getattr(t, "num_key_value_heads", t.num_attention_heads)
    b = dtype.itemsize
    return int(t.num_hidden_layers*2*kv*hd*b*tokens + 4*tokens*t.hidden_size*b + 2*tokens*t.intermediate_size*b + t.num_attention_heads*tokens**2*b)
def prompts_at_once(free, per, *, at_most):
    return max(1, min(at_most, int(free*0.75/per)))
